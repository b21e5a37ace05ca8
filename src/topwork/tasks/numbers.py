"""Numbers as people write them into tables: read strictly, and spelt with the digits that matter.

It knows no column and no unit. What is no plain number is never guessed at: `3,5` is three and a half in one country
and thirty-five in none, and a unit may differ from row to row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import Final

import numpy as np

from topwork.contracts import Array
from topwork.errors import DataError

__all__ = ["is_number", "parse", "spelled"]

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WITH_COMMAS: Final = re.compile(r"[+-]?\d[\d.]*,[\d.,]*\d?", re.ASCII)
_INFINITE: Final = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_N_SHOWN = 3
_DIGITS = 3


def is_number(text: str) -> bool:
    """Tell whether a text is a plain finite number with a decimal point."""
    return _NUMBER.fullmatch(text.strip()) is not None and isfinite(float(text))


def parse(raw: Sequence[str | None]) -> Array:
    """Return values as ``float64 [n]``; NaN where one is missing.

    Parameters
    ----------
    raw
        None, an empty text and ``nan`` are missing.

    Raises
    ------
    DataError
        A value is no plain finite number; the message says what it seems to be.
    """
    found = np.full(len(raw), np.nan)
    wrong: list[str] = []
    for i, one in enumerate(raw):
        text = "" if one is None else one.strip()
        if text.lower() in ("", "nan"):
            continue
        if is_number(text):
            found[i] = float(text)
        else:
            wrong.append(text)
    if wrong:
        raise _refusal(wrong, sum(one is not None for one in raw))
    return found


def _refusal(wrong: Sequence[str], n: int) -> DataError:
    different = list(dict.fromkeys(wrong))
    shown = ", ".join(repr(one[:40]) for one in different[:_N_SHOWN]) + (
        " …" if len(different) > _N_SHOWN else ""
    )
    what, step = _seems(different[0])
    if len(wrong) == n and not any(map(str.isdigit, "".join(different))):
        what, step = (
            "labels",
            "Leave --task out to tell labels apart, or name a column of numbers with --target.",
        )
    return DataError(
        f"Regression needs numbers; {len(wrong):,} of {n:,} values are none, such as {shown}: {what}.",
        next_step=step,
    )


def _seems(text: str) -> tuple[str, str]:
    """Return what a text that is no number seems to be, and what to do about it."""
    if _WITH_COMMAS.fullmatch(text):
        return (
            "a decimal comma, or commas between thousands",
            "Write numbers with a decimal point and without separators, such as 1234.5.",
        )
    if _INFINITE.fullmatch(text) or _NUMBER.fullmatch(text):
        return "infinite, or too large", "Leave the cell empty where the value is not known."
    if re.search(r"\d", text):
        return (
            "a number with a unit or other signs",
            "Put all values into one unit and write the bare numbers.",
        )
    return "text", "Leave the cell empty where the value is not known."


def spelled(value: float, scale: float) -> str:
    """Return a number with three digits of what values differ by, ``scale``: ``1,234,000``, ``3.21``, ``0.00321``.

    Digits before the point are never cut.
    """
    if not isfinite(value):
        return "unknown"
    if not 1e-9 < scale < 1e15 or abs(value) >= 1e15:
        return f"{value:.4g}"
    decimals = max(0, _DIGITS - 1 - floor(log10(scale)))
    return f"{value:,.{decimals}f}"
