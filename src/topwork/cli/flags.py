"""An option for every setting of a server, made from the settings themselves; a new setting needs no line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, TypeAlias

import typer

from topwork.serving.settings.flags import Flag, flags
from topwork.serving.settings.kinds import Switch

__all__ = ["Given", "with_flags"]

Given: TypeAlias = Mapping[str, object] | None
"""Values by the names of the flags that were given."""

GIVEN = "given"
"""Name of the parameter that takes them."""


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a server; those that were given come in its parameter ``given``."""
    own = inspect.signature(command, eval_str=True).parameters
    options = [_parameter(flag) for flag in flags()]
    parameters = [one for name, one in own.items() if name != GIVEN] + options

    @wraps(command)
    def take(**words: Any) -> None:
        given = {flag.name: words.pop(flag.name) for flag in flags()}
        command(**words, **{GIVEN: {name: _final(value) for name, value in given.items() if value}})

    take.__dict__["__signature__"] = inspect.Signature(parameters)
    take.__annotations__ = {one.name: one.annotation for one in parameters}
    return take


def _parameter(flag: Flag) -> inspect.Parameter:
    name = f"--{flag.name.replace('_', '-')}"
    if isinstance(flag.kind, Switch):
        annotation: Any = Annotated[bool, typer.Option(name, help=flag.kind.about)]
        return inspect.Parameter(
            flag.name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
        )
    more = " May be given several times." if flag.several else ""
    more += "" if flag.default is None else f"  [default: {flag.default}]"
    option = typer.Option(
        name,
        metavar=flag.kind.metavar,
        help=f"{flag.kind.about}{more}",
        parser=_parser(flag),
        show_default=False,
    )
    annotation = Annotated[list[str] | None, option] if flag.several else Annotated[str | None, option]
    return inspect.Parameter(flag.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _parser(flag: Flag) -> Callable[[str], tuple[object]]:
    def parse(word: str) -> tuple[object]:
        try:
            return (flag.kind.read_word(word),)
        except (ValueError, OverflowError) as error:
            shown = repr(word) if word else "it is empty"
            raise typer.BadParameter(f"{shown}; expected {flag.kind.expected}.") from error

    return parse


def _final(value: Any) -> object:
    """Take values out of the tuples that keep a zero from looking like nothing."""
    if isinstance(value, list):
        return tuple(one for (one,) in value)
    return value[0] if isinstance(value, tuple) else value
