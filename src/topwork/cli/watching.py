"""What `top` shows: a server's load as a live table, as plain lines, or as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from topwork.cli.lines import one_line, put, put_json, put_table

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from topwork.verbs.watching import Load, ModelLoad, VersionLoad

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
_OF_VERSIONS = ("version", "share", "requests/s", "answered", "failed", "p50", "p99", "canary")


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
    if load.versions:
        put_table([_OF_VERSIONS, *map(_of_version, load.versions)])


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
        {True: "ready", False: "not ready", None: "part"}[one.is_ready] + _replicas(one),
        f"{one.answers_per_s:.1f}",
        _time(one.p50_s),
        _time(one.p99_s),
        _time(one.wait_p99_s),
        str(one.n_working),
        str(one.n_waiting),
        "–" if one.out_of_domain is None else f"{one.out_of_domain:.1%}",
        drifted + one_line(moved),
    )


def _replicas(one: ModelLoad) -> str:
    return "" if one.n_replicas is None else f", {one.n_replicas_ready} of {one.n_replicas} processes"


def _of_version(one: VersionLoad) -> tuple[str, ...]:
    when = "" if one.decided_s is None else f" {datetime.fromtimestamp(one.decided_s):%Y-%m-%d %H:%M}"
    return (
        one_line(f"{one.model}@{one.version}"),
        f"{one.share:.1%}",
        f"{one.requests_per_s:.1f}",
        f"{one.n_answered:,}",
        f"{one.n_failed:,}",
        _time(one.p50_s),
        _time(one.p99_s),
        one_line(one.phase + when) or "–",
    )


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _drawn(url: str, load: Load) -> Group:
    from rich.console import Group
    from rich.text import Text

    table = _table(_HEAD, (0, 1, len(_HEAD) - 1))
    for one in load.models:
        # As text, for a name may look like markup.
        table.add_row(*(Text(cell, "red" if one.n_drifted and last else "") for cell, last in _cells(one)))
    hint = Text(f"{url}   Ctrl-C ends this", "dim")
    below = (Text(), _drawn_versions(load.versions)) if load.versions else ()
    return Group(Text(_headline(load), "bold"), hint, Text(), table, *below)


def _drawn_versions(versions: Sequence[VersionLoad]) -> Table:
    from rich.text import Text

    table = _table(_OF_VERSIONS, (0, len(_OF_VERSIONS) - 1))
    for one in versions:
        style = "red" if one.phase == "rolled back" else ""
        table.add_row(*(Text(cell, style) for cell in _of_version(one)))
    return table


def _table(head: Sequence[str], left: Sequence[int]) -> Table:
    """Return an empty table, whose columns are to the right but for these."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number in left else "right")
    return table


def _cells(one: ModelLoad) -> Iterator[tuple[str, bool]]:
    row = _row(one)
    return ((cell, number == len(row) - 1) for number, cell in enumerate(row))
