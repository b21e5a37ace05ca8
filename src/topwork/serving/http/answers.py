"""Inputs become answers, and answers become a response body. It knows no task: a value is any JSON object."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from topwork.contracts import Answer, Json, Servable
from topwork.serving.http.bodies import Input, Unreadable
from topwork.serving.http.messages import dumps
from topwork.serving.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Ask = Callable[[Sequence[bytes]], Iterator[Answer]]

__all__ = ["answered", "error_line", "line", "pieces", "predictions"]


def answered(servable: Servable, ask: Ask, inputs: Sequence[Input]) -> Iterator[Answer]:
    """Yield an answer for each input, those that could not be read first.

    Parameters
    ----------
    ask
        What is wanted of the servable: its answers, or its explanations.

    Raises
    ------
    RuntimeError
        The servable did not keep its contract: an input has no last answer, or one that was never sent.
    """
    open_inputs = set(range(len(inputs)))
    for answer in pieces(ask, inputs):
        if answer.last:
            open_inputs.remove(answer.index)
        yield answer
    if open_inputs:
        raise RuntimeError(
            f"{servable.name} left {len(open_inputs)} of {len(inputs)} inputs without an answer"
        )


def pieces(ask: Ask, inputs: Sequence[Input]) -> Iterator[Answer]:
    """Yield what a servable says of inputs, and before it the problems of those that it need not be asked about."""
    readable: list[bytes] = []
    positions: list[int] = []
    for index, given in enumerate(inputs):
        if isinstance(given, Unreadable):
            yield Answer(index, None, given.problem)
        else:
            readable.append(given)
            positions.append(index)
    if readable:
        for answer in ask(readable):
            yield replace(answer, index=positions[answer.index])


def predictions(answers: Sequence[Answer]) -> list[Json]:
    """Return the value or the error of each input, in the order of the request.

    Raises
    ------
    Refusal
        There was a single input, and it was bad.
    """
    if len(answers) == 1 and answers[0].problem is not None:
        problem, _, step = answers[0].problem.partition("\n")
        raise Refusal("bad_input", problem, next_step=step)
    return [_entry(answer) for answer in sorted(answers, key=lambda answer: answer.index)]


def _entry(answer: Answer) -> Json:
    return {"error": answer.problem} if answer.problem is not None else answer.value


def line(answer: Answer) -> bytes:
    """Return one line of a stream."""
    said: dict[str, Json] = {"index": answer.index, "last": answer.last}
    if answer.problem is not None:
        said["error"] = answer.problem
    else:
        said["value"] = answer.value
    return dumps(said) + b"\n"


def error_line(refusal: Refusal) -> bytes:
    """Return the last line of a stream that could not be finished."""
    return dumps(refusal.body()) + b"\n"
