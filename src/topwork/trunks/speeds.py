"""How fast trunks have been seen to run on this machine: items per second, kept in one small JSON file.

It remembers and recalls. It measures nothing, and a damaged file only means that nothing is known.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from topwork.contracts import Precision
from topwork.storage import write_atomically

__all__ = ["recall", "remember"]

_FILE = "speeds.json"


def remember(cache_dir: Path, trunk: str, *, engine: str, precision: Precision, items_per_s: float) -> None:
    """Keep a measurement; it replaces an older one of the same trunk, engine and precision.

    Of two processes that remember at the same moment one may be lost; the file is whole in any case.

    Raises
    ------
    StorageError
        The cache cannot be written.
    """
    known = _read(cache_dir)
    known.setdefault(trunk, {})[_key(engine, precision)] = round(items_per_s, 2)
    write_atomically(cache_dir / _FILE, json.dumps(known, indent=1, sort_keys=True).encode())


def recall(cache_dir: Path, trunk: str, *, engine: str, precision: Precision) -> float | None:
    """Return the items per second that were remembered; None where nothing was."""
    return _read(cache_dir).get(trunk, {}).get(_key(engine, precision))


def _key(engine: str, precision: Precision) -> str:
    return f"{engine}-{precision}"


def _read(cache_dir: Path) -> dict[str, dict[str, float]]:
    try:
        known = json.loads((cache_dir / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {str(trunk): _rates(rates) for trunk, rates in known.items() if isinstance(rates, dict)}


def _rates(rates: dict[str, object]) -> dict[str, float]:
    numbers = {key: float(rate) for key, rate in rates.items() if isinstance(rate, int | float)}
    return {key: rate for key, rate in numbers.items() if math.isfinite(rate) and rate > 0}
