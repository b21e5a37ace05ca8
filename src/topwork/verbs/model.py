"""A fitted model as a Python caller holds it: predict, prove, save."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from topwork.bundle.compiling import open_model
from topwork.bundle.model import BundleModel
from topwork.contracts import FitRecord, Json
from topwork.errors import DecodeError, UsageError
from topwork.steps.places import TemporaryFolder
from topwork.storage import write_atomically

__all__ = ["Model", "Prediction"]

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one input.

    Attributes
    ----------
    input
        Name of the input: its path, the beginning of a text, or its number.
    answer
        For a classification ``{"label": …, "probabilities": {…}}``, for several labels at once ``{"labels": […],
        "probabilities": {…}}``, for a regression ``{"value": …, "low": …, "high": …}``, for survival
        ``{"risk": …, "band": …, "survival": […]}``; of several targets each under its name, see `of`; None where it
        could not be read.
    problem
        Why it could not be read; None where it could.
    """

    input: str
    answer: Mapping[str, Json] | None
    problem: str | None = None

    @property
    def label(self) -> str | None:
        """The likeliest label, where the answer has one."""
        label = (self.answer or {}).get("label")
        return label if isinstance(label, str) else None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels that are given, likeliest first, where an answer may have several; empty for none of them."""
        found = (self.answer or {}).get("labels")
        return tuple(map(str, found)) if isinstance(found, list) else None

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Label to probability, highest first; empty where the answer has none."""
        found = (self.answer or {}).get("probabilities")
        return (
            {k: float(v) for k, v in found.items() if isinstance(v, float)}
            if isinstance(found, Mapping)
            else {}
        )

    @property
    def value(self) -> float | None:
        """The number, where the answer is one."""
        return self._number("value")

    @property
    def low(self) -> float | None:
        """Where the number's interval begins, where it has one."""
        return self._number("low")

    @property
    def high(self) -> float | None:
        """Where the number's interval ends, where it has one."""
        return self._number("high")

    @property
    def risk(self) -> float | None:
        """How many times as often as of the average input the event is to be expected, where the answer says it."""
        return self._number("risk")

    @property
    def band(self) -> str | None:
        """The band of that risk, where it has one."""
        found = (self.answer or {}).get("band")
        return found if isinstance(found, str) else None

    @property
    def survival(self) -> Mapping[float, float]:
        """Time to the share of such inputs that is left without the event then; empty where the answer says none."""
        found = (self.answer or {}).get("survival")
        rows = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
        pairs = ((one.get("time"), one.get("probability")) for one in rows)
        return {time: share for time, share in pairs if isinstance(time, float) and isinstance(share, float)}

    @property
    def in_domain(self) -> bool | None:
        """Whether the input is like those that the model was fitted on; None where the bundle cannot tell."""
        found = (self.answer or {}).get("in_domain")
        return found if isinstance(found, bool) else None

    @property
    def abstains(self) -> bool | None:
        """Whether asking a person costs less than such answers; None in a fit without `--error-cost`."""
        found = (self.answer or {}).get("abstains")
        return found if isinstance(found, bool) else None

    @property
    def is_bounded(self) -> bool:
        """Whether the number has an interval."""
        return self.low is not None and self.high is not None

    def of(self, target: str) -> Prediction:
        """Return what is said of one of several targets, as a model of it alone would say it.

        Raises
        ------
        UsageError
            The answer has no such target.
        """
        if self.answer is None:
            return self
        found = self.answer.get(target)
        if not isinstance(found, Mapping):
            raise UsageError(
                f"The answer has no target {target!r}; it has {', '.join(self.answer)}.",
                next_step="Give one of these, or take the answer as it is where there is a single target.",
            )
        shared = {} if self.in_domain is None else {"in_domain": self.in_domain}
        return replace(self, answer={**found, **shared})

    def _number(self, name: str) -> float | None:
        found = (self.answer or {}).get(name)
        return found if isinstance(found, float) else None


class Model:
    """A bundle that is open for predictions. Pickled, it travels as the bundle, which is proven where it arrives.

    Parameters
    ----------
    servable
        The opened bundle with an engine.
    folder
        Temporary folder that holds the bundle and lives as long as the model, if there is one.

    Attributes
    ----------
    labels
        The table of labels that look wrong, where the fit that made this model wrote one.
    """

    def __init__(self, servable: BundleModel, folder: TemporaryFolder | None = None) -> None:
        self.servable = servable
        self._folder = folder
        self.labels: Path | None = None

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, trunk={self.record.trunk.name!r}, targets={list(self.servable.targets)})"
        )

    @property
    def name(self) -> str:
        """The stem of the bundle's file."""
        return self.servable.name

    @property
    def path(self) -> Path:
        """Where the bundle is."""
        return self.servable.bundle.path

    @property
    def record(self) -> FitRecord:
        """Everything about the fit: data, metrics with intervals, settings."""
        return self.servable.bundle.record()

    def __reduce__(self) -> tuple[Callable[[bytes, str], Model], tuple[bytes, str]]:
        return _arrived, (self.path.read_bytes(), self.path.name)

    def prove(self) -> None:
        """Replay the golden examples; raises `ProofError` when the network answers otherwise than at its fit."""
        self.servable.prove()

    @overload
    def predict(self, inputs: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, inputs: object) -> Prediction: ...
    def predict(self, inputs: object) -> Prediction | list[Prediction]:
        """Predict for one input, or for a list of them.

        Parameters
        ----------
        inputs
            For photos a path, bytes, a PIL image or an array ``uint8 [height, width, 3]``; for texts the text itself
            as a string, a `Path`, or bytes; or a list or tuple of these.

        Raises
        ------
        DecodeError
            The one input cannot be read. In a list, a bad input gets a `Prediction` with a problem.
        """
        if isinstance(inputs, list | tuple):
            return list(self.stream(inputs))
        found = next(iter(self.stream([inputs])))
        if found.problem is not None:
            raise DecodeError(found.problem, next_step="Check the input.")
        return found

    def stream(self, inputs: Iterable[object]) -> Iterator[Prediction]:
        """Predict one after the other in bounded memory, however many there are."""
        waiting = _Named(inputs, named_in_full=self.servable.wire.in_json != "text")
        for scored in self.servable.score_rows(
            waiting.rows(), waiting.encode_with(self.servable.modality.encode)
        ):
            answer = None if scored.scores is None else self.servable.answer(scored.scores)
            yield Prediction(waiting.name(scored.row), answer, scored.problem)

    def only(self, *names: str) -> Model:
        """Return the same model for some of its targets, proven anew; the heads of the others are not computed.

        A model of a single target answers with it alone, as one that was fitted for it does.

        Raises
        ------
        UsageError
            It has no target of such a name, or none is given.
        """
        self.servable.bundle.only(names)  # which refuses what is not there
        model = Model(open_model(self.path, engine=self.servable.engine.name, only=names), self._folder)
        model.prove()
        return model

    def save(self, path: str | Path) -> Path:
        """Copy the bundle to ``path``, whole or not at all, and return where it is.

        All that was fitted is in the copy; `topwork.keep` writes a bundle of some targets.
        """
        target = Path(path)
        write_atomically(target, self.path.read_bytes())
        return target


def _arrived(content: bytes, name: str) -> Model:
    """Open a bundle that came as bytes; it lives as long as the model."""
    folder = TemporaryFolder()
    path = folder.path / name
    write_atomically(path, content)
    model = Model(open_model(path), folder)
    model.prove()
    return model


class _Named:
    """Numbers inputs as they are asked for, and forgets each once its prediction is out."""

    def __init__(self, inputs: Iterable[object], *, named_in_full: bool) -> None:
        self._inputs, self._named_in_full = inputs, named_in_full
        self._items: dict[int, object] = {}
        self._names: dict[int, str] = {}

    def rows(self) -> Iterator[int]:
        for row, item in enumerate(self._inputs):
            self._items[row] = item
            self._names[row] = self._name_of(row, item)
            yield row

    def _name_of(self, row: int, item: object) -> str:
        """Return a path in full, a text by its beginning, anything else by its number."""
        if isinstance(item, str) and not self._named_in_full:
            line = " ".join(item.split())
            return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"
        return str(item) if isinstance(item, str | Path) else str(row)

    def encode_with(self, encode: Callable[[object], bytes]) -> Callable[[int], bytes]:
        return lambda row: encode(self._items.pop(row))

    def name(self, row: int) -> str:
        return self._names.pop(row)
