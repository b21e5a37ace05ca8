"""What a player may change while playing, within bounds. It knows no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from topwork.contracts import Sampling
from topwork.errors import UsageError

__all__ = ["FILTERS", "Settings"]

FILTERS: Final = ("mask", "retell", "off")
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0.0, 5.0),
    "top_k": (0, 1_000_000),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.5, 3.0),
    "length": (8, 1000),
    "memory": (64, 1_000_000),
}
_WHOLE: Final = frozenset({"top_k", "length", "memory"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How a story is told.

    Attributes
    ----------
    temperature, top_k, top_p, min_p, repetition_penalty
        As `topwork.contracts.Sampling` has them.
    length
        Tokens of a result at most.
    memory
        Tokens of the story that the model is shown at most.
    filter
        Where there are words not to be read: ``mask`` them, ``retell`` what holds one, or ``off``.
    """

    temperature: float = 0.75
    top_k: int = 0
    top_p: float = 0.92
    min_p: float = 0.07
    repetition_penalty: float = 1.05
    length: int = 80
    memory: int = 1024
    filter: str = "mask"

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name} is {value:g}; expected {least:g} to {most:g}.")
        if self.filter not in FILTERS:
            raise UsageError(f"filter is {self.filter!r:.60}; expected one of {', '.join(FILTERS)}.")

    def changed(self, name: str, word: str) -> Settings:
        """Return these with one changed, which is given as a word.

        Raises
        ------
        UsageError
            There is no such setting, or its value makes no sense.
        """
        if name not in asdict(self):
            raise UsageError(
                f"There is no setting {name[:60]!r}.", next_step=f"Settings: {', '.join(asdict(self))}."
            )
        changed: dict[str, Any] = {name: word if name == "filter" else _number(name, word)}
        return replace(self, **changed)

    def listed(self) -> str:
        """Return a line for each."""
        ranges = {name: f"{least:g} to {most:g}" for name, (least, most) in _BOUNDS.items()}
        ranges["filter"] = ", ".join(FILTERS)
        return "\n".join(f"{name} {value}  ({ranges[name]})" for name, value in asdict(self).items())

    def sampling(self, seed: int, *, n_tried: int = 0) -> Sampling:
        """Return how tokens are drawn; a little more daring with each try that went in circles."""
        return Sampling(
            temperature=self.temperature + 0.1 * n_tried,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=min(self.repetition_penalty + 0.1 * n_tried, 3.0),
            seed=seed,
        )


def _number(name: str, word: str) -> float:
    kind = "a whole number" if name in _WHOLE else "a number"
    try:
        return int(word) if name in _WHOLE else float(word)
    except ValueError:
        raise UsageError(f"{name} is {word[:60]!r}; expected {kind}.") from None
