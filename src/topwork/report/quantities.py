"""How numbers and untrusted text are spelt for a person: shares as percentages, seconds as minutes.

It knows the names of common metrics, because a share reads better as a percentage, and no task: a metric it
has never heard of is spelt as a plain number. A name that ends in ``loss``, ``error`` or ``width`` is better lower.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Literal

from topwork.contracts import Estimate

__all__ = [
    "clean",
    "coordinate",
    "coordinate_interval",
    "counted",
    "duration",
    "is_share",
    "lower_is_better",
    "metric_title",
    "moment",
    "of_unit",
    "percent",
    "spell",
    "spell_interval",
    "unended",
]

_SHARES = frozenset(
    {"accuracy", "balanced_accuracy", "top_5_accuracy", "macro_f1", "micro_f1", "f1", "precision", "recall"}
    | {
        "specificity",
        "sensitivity",
        "auc",
        "roc_auc",
        "average_precision",
        "mean_average_precision",
        "hamming_loss",
        "exact_match",
        "calibration_error",
        "coverage",
        "share",
    }
)
# Spelt here, for strftime would follow the machine's language.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SPELT = {
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "f1": "F1",
    "auc": "AUC",
    "roc_auc": "ROC AUC",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "hamming_loss": "Hamming loss",
    "cox_loss": "Cox loss",
    "coverage": "coverage of the intervals",
    "interval_width": "width of the intervals",
}
_ERRORS = frozenset({"rmse", "mae", "perplexity"})
# Invisible characters that reorder or break a line, and halves of pairs, which UTF-8 cannot hold at all.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Replace what must not reach a page: control characters, changes of direction, lone surrogates."""
    return _UNPRINTABLE.sub("\ufffd", text)


def metric_title(name: str) -> str:
    """Return a metric's name as a person writes it: ``macro_f1`` becomes ``macro F1``."""
    return _SPELT.get(_key(name), name.replace("_", " "))


def is_share(name: str) -> bool:
    """Tell whether a metric lies between 0 and 1 and reads as a percentage."""
    return _key(name) in _SHARES


def lower_is_better(name: str) -> bool:
    """Tell whether less of a metric is better, going by its name."""
    return _key(name).endswith(("loss", "error", "width")) or _key(name) in _ERRORS


def spell(name: str, value: float) -> str:
    """Spell the value of a metric: ``75.5 %``, ``0.827``, ``unknown``."""
    if isnan(value):
        return "unknown"
    return percent(value) if is_share(name) else _plain(value)


def spell_interval(name: str, estimate: Estimate) -> str:
    """Spell an interval: ``66.7 to 82.5 %``."""
    if isnan(estimate.low) or isnan(estimate.high):
        return "unknown"
    if is_share(name):
        return f"{100 * estimate.low:.1f} to {percent(estimate.high)}"
    return f"{_plain(estimate.low)} to {_plain(estimate.high)}"


def percent(share: float) -> str:
    """Spell a share with one decimal: ``75.5 %``, the space unbreakable; 0 and 100 are told only of none and all."""
    if 0 < share < 0.0005:
        return "under\u00a00.1\u00a0%"
    if 0.9995 <= share < 1:
        return "over\u00a099.9\u00a0%"
    return f"{100 * share:.1f}\u00a0%"


def duration(seconds: float) -> str:
    """Spell a time: ``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if not isfinite(seconds):
        return "unknown"
    if seconds < 99.95:
        return f"{seconds:.2g}\u00a0s" if seconds < 1 else f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest:02d}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60:02d}\u00a0min"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Spell a count with its noun: ``1 file``, ``1,250 files``."""
    return f"{n:,}\u00a0{noun if n == 1 else plural or noun + 's'}"


def coordinate(kind: Literal["number", "share", "seconds"], value: float) -> str:
    """Spell a value of a chart: ``1,280``, ``0.613``, ``81.0 %``, ``12.3 s``."""
    if not isfinite(value):
        return "unknown" if isnan(value) else "unbounded"
    if kind == "share":
        return percent(value)
    if kind == "seconds":
        return duration(value)
    if abs(value) < 1e7 and (value == round(value) or abs(value) >= 1000):
        return f"{value:,.0f}"
    return f"{value:.3g}" if 1 <= abs(value) < 1000 else _plain(value)


def coordinate_interval(kind: Literal["number", "share", "seconds"], low: float, high: float) -> str:
    """Spell the interval of a value of a chart: ``78.1 to 83.2 %``."""
    if kind == "share" and isfinite(low) and isfinite(high):
        return f"{100 * low:.1f} to {percent(high)}"
    return f"{coordinate(kind, low)} to {coordinate(kind, high)}"


def of_unit(unit: str, value: float) -> str:
    """Spell a value of a unit that a forecast may have: seconds as `duration`, bytes as ``412 MB``."""
    if unit.lower() in {"s", "second", "seconds"}:
        return duration(value)
    if unit.lower() in {"b", "byte", "bytes"} and isfinite(value):
        return _bytes(value)
    return f"{coordinate('number', value)} {unit}".strip()


def moment(created: str) -> str:
    """Spell an ISO 8601 moment for a person: ``21 November 2026, 01:20 UTC``; as it is where it is none."""
    try:
        at = datetime.fromisoformat(created)
    except ValueError:
        return created
    zone = "" if at.tzinfo is None else " UTC"
    at = at.astimezone(UTC) if at.tzinfo else at
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}, {at:%H:%M}{zone}"


def unended(sentence: str) -> str:
    """Return a sentence without its full stop, to go on after it."""
    return sentence.rstrip().removesuffix(".")


def _key(name: str) -> str:
    """Return a name as the sets above hold it; what follows a comma says of whom it is: ``accuracy, this model``."""
    return name.partition(",")[0].strip().lower().replace(" ", "_").replace("-", "_")


def _bytes(value: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}\u00a0{unit}"
    return counted(round(value), "byte")


def _plain(value: float) -> str:
    if not isfinite(value):
        return "unbounded"
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 or value == 0 else f"{value:.3g}"
