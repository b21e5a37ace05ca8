"""What a text is written by: values of named columns, as they stand before it. It knows no table and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topwork.errors import UsageError

__all__ = ["beginning_of", "values_of"]


def beginning_of(given: Mapping[str, str], columns: Sequence[str]) -> str:
    """Return what stands before a text: a line for each value, in the order of the columns, and the text's own name.

    Parameters
    ----------
    given
        Values by column; a column without one is left out.
    columns
        Names of what a text is given, and last of the text itself.

    Raises
    ------
    UsageError
        A value is of no such column.
    """
    *known, written = columns or ("",)
    for name in given:
        if name not in known:
            told = f"it is given {', '.join(known)}" if known else "its texts were given nothing"
            raise UsageError(
                f"There is no {name!r} that texts of this model are given; {told}.",
                next_step="Use one of these." if known else "Leave it out, or fit on several columns.",
            )
    lines = [f"{name}: {value}" for name in known if (value := " ".join(given.get(name, "").split()))]
    return "".join(f"{line}\n" for line in [*lines, f"{written}:"]) if known else ""


def values_of(beginning: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the values by column that `beginning_of` put before a text; those that were left out are not there."""
    *known, _ = columns
    found = {}
    for name in known:
        if beginning.startswith(f"{name}: "):
            found[name], _, beginning = beginning.removeprefix(f"{name}: ").partition("\n")
    return found
