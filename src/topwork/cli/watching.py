"""What `top` shows: a server's load as a live table, as plain lines, or as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from topwork.cli.lines import one_line, put, put_json, put_table

if TYPE_CHECKING:
    from rich.console import Group

    from topwork.verbs.watching import Load, ModelLoad

__all__ = ["follow", "once", "show_load"]

_HEAD = (
    "model",
    "state",
    "answers/s",
    "p50",
    "p99",
    "wait p99",
    "working",
    "in line",
    "out of domain",
    "drifted",
)


def follow(
    url: str, key: str | None, every_s: float, *, as_json: bool, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Show what a server does until Ctrl-C: a table that changes in a terminal, else one table or object a look."""
    loads = _loads(url, key, every_s, sleep)
    if as_json or not sys.stdout.isatty():
        for load in loads:
            show_load(load, as_json=as_json)
            sys.stdout.flush()  # for whoever reads along in a pipe
        return
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        for load in loads:
            live.update(_drawn(url, load), refresh=True)


def _loads(url: str, key: str | None, every_s: float, sleep: Callable[[float], None]) -> Iterator[Load]:
    from topwork.verbs.watching import load_between, look

    before = look(url, key)
    while True:
        sleep(every_s)
        after = look(url, key)
        yield load_between(before, after)
        before = after


def show_load(load: Load, *, as_json: bool) -> None:
    """Show one look."""
    if as_json:
        put_json({"schema": 1, **asdict(load)})
        return
    put(_headline(load))
    put_table([_HEAD, *map(_row, load.models)])


def once(url: str, key: str | None, every_s: float, *, as_json: bool) -> None:
    """Look twice, and show what went on between."""
    show_load(next(_loads(url, key, every_s, time.sleep)), as_json=as_json)


def _headline(load: Load) -> str:
    return (
        f"topwork {load.version}   {load.requests_per_s:.1f} requests/s   p50 {_time(load.p50_s)}   "
        f"p99 {_time(load.p99_s)}   {load.n_in_flight} in flight   {load.shed_per_s:.1f} shed/s   "
        f"{load.errors_per_s:.1f} errors/s"
    )


def _row(one: ModelLoad) -> tuple[str, ...]:
    drifted = f"{one.n_drifted} of {one.n_windows}" if one.n_windows else "–"
    moved = "" if one.most_drifted is None else f" ({one.most_drifted[0]} {one.most_drifted[1]:.2f})"
    return (
        one_line(one.name),
        "ready" if one.is_ready else "not ready",
        f"{one.answers_per_s:.1f}",
        _time(one.p50_s),
        _time(one.p99_s),
        _time(one.wait_p99_s),
        str(one.n_working),
        str(one.n_waiting),
        "–" if one.out_of_domain is None else f"{one.out_of_domain:.1%}",
        drifted + one_line(moved),
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _drawn(url: str, load: Load) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(_HEAD):
        table.add_column(title, justify="left" if number in (0, 1, len(_HEAD) - 1) else "right")
    for one in load.models:
        # As text, for a name may look like markup.
        table.add_row(*(Text(cell, "red" if one.n_drifted and last else "") for cell, last in _cells(one)))
    return Group(Text(_headline(load), "bold"), Text(f"{url}   Ctrl-C ends this", "dim"), Text(), table)


def _cells(one: ModelLoad) -> Iterator[tuple[str, bool]]:
    row = _row(one)
    return ((cell, number == len(row) - 1) for number, cell in enumerate(row))
