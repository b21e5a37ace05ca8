"""A user's own Python before and after a model: two plain functions around a servable.

It knows no model and no route. What the functions raise costs the input at hand its answer and nothing else; the client
is told what a `DecodeError` says, of anything else only that it happened.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topwork.contracts import Answer, Batchable, Intake, Json, Reference, Servable
from topwork.errors import DecodeError, UsageError
from topwork.serving.batching.gathering import Gathered, gathered_of
from topwork.serving.http.answers import pieces
from topwork.serving.http.bodies import Input, Unreadable
from topwork.serving.http.messages import dumps
from topwork.serving.wrapping.around import Around
from topwork.serving.wrapping.conformity import misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

    from topwork.serving.http.answers import Ask

__all__ = ["Hooked", "HookedBatches", "Hooks", "hooked", "load_hooks"]

LOG = logging.getLogger("topwork.serving")
OPEN_SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "description": "What the operator's own code makes of the model's answer.",
}
EXAMPLE = (
    "Write `def before(content: bytes) -> bytes` or `def after(answer: dict) -> dict` there, or both; "
    "see docs/serving.md."
)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a user's code does around a model; called from several threads at once.

    Attributes
    ----------
    source
        Where it was found, as ``module:attribute``.
    before
        Turns the bytes of one input into those that the model is given.
    after
        Turns one answer, as a client would read it, into another JSON object.
    answer_schema
        JSON Schema of what ``after`` gives, against which answers are held; None leaves them open.
    """

    source: str
    before: Callable[[bytes], object] | None = None
    after: Callable[[dict[str, Any]], object] | None = None
    answer_schema: Mapping[str, Json] | None = None


class Hooked(Around):
    """A servable with a user's code around it; see `topwork.contracts.Servable`."""

    def __init__(self, servable: Servable, hooks: Hooks) -> None:
        super().__init__(servable)
        self._hooks = hooks

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """What the user says of the answers of ``after``; without it the model's own."""
        if self._hooks.after is None:
            return self._servable.answer_schema
        return OPEN_SCHEMA if self._hooks.answer_schema is None else self._hooks.answer_schema

    @property
    def about(self) -> Mapping[str, Json]:
        """What the model says of itself, and whose code stands around it."""
        return {**self._servable.about, "app": self._hooks.source}

    @property
    def reference(self) -> Reference | None:
        """The model's; what ``after`` makes of answers cannot be held against the model's own, the inputs can."""
        found = super().reference
        if found is None or self._hooks.after is None:
            return found
        return replace(found, profiles={}, out_of_domain=None)

    @property
    def gathered(self) -> Gathered | None:
        """The model's, where it makes batches of several requests by itself."""
        return gathered_of(self._servable)

    def prove(self) -> None:
        """Prove the model; the code around it is not asked."""
        self._servable.prove()

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer inputs, each after ``before`` and before ``after``."""
        for answer in self._asked(self._servable.submit, inputs):
            yield self._finished(answer)

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Explain what the model says of inputs after ``before``."""
        return self._asked(self._servable.explain, inputs)

    def _asked(self, ask: Ask, inputs: Sequence[bytes]) -> Iterator[Answer]:
        return pieces(ask, [self._prepared(content) for content in inputs])

    def _prepared(self, content: bytes) -> Input:
        if self._hooks.before is None:
            return content
        try:
            found = self._hooks.before(content)
            if not isinstance(found, bytes):
                raise TypeError(f"before() returned {type(found).__name__}; expected bytes")
        except Exception as error:
            return Unreadable(self._told(error, "before"))
        return found

    def _finished(self, answer: Answer) -> Answer:
        if self._hooks.after is None or answer.value is None:
            return answer
        try:
            # A copy as the client would read it, so that the code may change it and finds plain lists.
            found = self._hooks.after(json.loads(dumps(answer.value)))
            if not isinstance(found, dict):
                raise TypeError(f"after() returned {type(found).__name__}; expected a dict")
            plain = json.loads(dumps(found))  # which raises for what is no JSON
            if (wrong := misfit(plain, self._hooks.answer_schema)) is not None:
                raise ValueError(f"after() gave what answer_schema does not have: {wrong}")
        except Exception as error:
            return replace(answer, value=None, problem=self._told(error, "after"))
        return replace(answer, value=plain)

    def _told(self, error: Exception, where: str) -> str:
        """Return what a client may know; the rest goes to the log."""
        if isinstance(error, DecodeError):
            return str(error)
        LOG.error("%s: %s() of %s failed", self.name, where, self._hooks.source, exc_info=error)
        return (
            f"The server's own code {where} the model failed on this input.\n"
            "Tell the operator of this server; what happened is in its log."
        )


class HookedBatches(Hooked):
    """The same around a model that takes batches; see `topwork.contracts.Batchable`.

    ``before`` is asked while an input is prepared, ``after`` when its answer is finished: neither holds up the engine.
    """

    def __init__(self, servable: Servable, hooks: Hooks) -> None:
        super().__init__(servable, hooks)
        assert isinstance(servable, Batchable)
        self._batches: Batchable = servable

    def samples(self) -> Sequence[Any]:
        """Return the model's: the code around it is not measured."""
        return self._batches.samples()

    def rehearse(self) -> None:
        """Have the model rehearse; the code around it is not asked."""
        self._batches.rehearse()

    def prepare(self, encoded: bytes) -> Any:
        """Ask ``before``, and decode what it gives."""
        found = self._prepared(encoded)
        if isinstance(found, Unreadable):
            problem, _, step = found.problem.partition("\n")
            raise DecodeError(problem, next_step=step)
        return self._batches.prepare(found)

    def key(self, prepared: Any) -> Hashable:
        """Return the model's."""
        return self._batches.key(prepared)

    def compute(self, prepared: Sequence[Any], intake: Intake) -> Iterator[Answer]:
        """Have the model compute."""
        return self._batches.compute(prepared, intake)

    def finish(self, answer: Answer) -> Answer:
        """Ask ``after``."""
        return self._finished(self._batches.finish(answer))


def hooked(servable: Servable, hooks: Hooks) -> Hooked:
    """Put a user's code around a servable, which takes batches then where it did before."""
    return HookedBatches(servable, hooks) if isinstance(servable, Batchable) else Hooked(servable, hooks)


def load_hooks(source: str, folder: Path) -> Hooks:
    """Import a user's code: ``module`` or ``module:attribute``, an object with `before`, `after` or both.

    Parameters
    ----------
    folder
        Where the module is looked for beside the installed packages, which come first. It stays among the folders that
        Python imports from, because a module may import another one late.

    Raises
    ------
    UsageError
        It cannot be imported, or what is there has no such functions.
    """
    name, colon, attribute = source.partition(":")
    if not all(part.isidentifier() for part in [*name.split("."), *(attribute.split(".") if colon else ())]):
        raise UsageError(
            f"The app is {source!r}; expected MODULE or MODULE:ATTRIBUTE, with dots and without `.py`.",
            next_step="Write my_app for the file my_app.py in this folder.",
        )
    thing = _imported(name, source, folder)
    for one in attribute.split(".") if attribute else ():
        if not hasattr(thing, one):
            raise UsageError(f"The app {source!r}: {_place(thing)} has no {one!r}.", next_step=EXAMPLE)
        thing = getattr(thing, one)
    return _hooks_of(thing, source)


def _imported(name: str, source: str, folder: Path) -> object:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        return import_module(name)
    except Exception as error:
        raise UsageError(
            f"The app {source!r} cannot be imported: {type(error).__name__}: {error}{_line(error, name)}.",
            next_step=f"It is looked for among the installed packages and in {folder}.",
        ) from error


def _line(error: Exception, name: str) -> str:
    """Return where in the user's module, or beyond it, an import failed; nothing where it was not even found."""
    is_missing = isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name)
    if is_missing or isinstance(error, SyntaxError):  # which says where by itself
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    last = [one for one in frames if not one.filename.startswith("<frozen")][-1]
    return f" ({Path(last.filename).name}, line {last.lineno})"


def _hooks_of(thing: object, source: str) -> Hooks:
    before, after = (_function(thing, word, source) for word in ("before", "after"))
    if before is None and after is None:
        raise UsageError(
            f"The app {source!r} ({_place(thing)}) has neither `before` nor `after`.", next_step=EXAMPLE
        )
    return Hooks(source, before, after, _schema(thing, source))


def _function(thing: object, word: str, source: str) -> Callable[..., object] | None:
    found = getattr(thing, word, None)
    if found is not None and (not callable(found) or iscoroutinefunction(found)):
        kind = "an async function" if callable(found) else type(found).__name__
        raise UsageError(
            f"The app {source!r} has as {word!r} {kind}; expected a plain function.", next_step=EXAMPLE
        )
    return found


def _schema(thing: object, source: str) -> Mapping[str, Json] | None:
    found = getattr(thing, "answer_schema", None)
    if found is None:
        return None
    try:
        if not isinstance(found, dict):
            raise TypeError(f"it is {type(found).__name__}, not a dict")
        if b'"$ref":' in dumps(found):
            raise ValueError("it has a $ref, which leads nowhere in the description of the API")
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The app {source!r} has an answer_schema that is no JSON object: {error}.",
            next_step='Write a JSON Schema such as {"type": "object", "properties": {…}}, or leave it out.',
        ) from error
    return found


def _place(thing: object) -> str:
    return str(getattr(thing, "__file__", None) or f"a {type(thing).__name__}")
