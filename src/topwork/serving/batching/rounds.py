"""One batch while it is computed: who is in it, who joins, who has an answer. It knows no thread and no loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from topwork.contracts import Answer, Batchable
    from topwork.serving.batching.share import Item

    Said: TypeAlias = tuple[Item, Answer]

__all__ = ["Round"]


class Round:
    """A batch from its beginning to the last answer; see `topwork.contracts.Intake`.

    Parameters
    ----------
    items
        Inputs of one key, at least one.
    newcomers
        Takes at most as many others out of the line.
    hand_on
        Is given answers that are not to wait for the end.
    is_wanted
        Whether somebody waits for an input.

    Attributes
    ----------
    open
        Inputs without a last answer, by their numbers.
    dropped
        Inputs that the model was told to leave.
    ready
        Answers that are yet to be handed on.
    n_inputs
        How many were ever in it.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        newcomers: Callable[[int], Sequence[Item]],
        hand_on: Callable[[list[Said]], None],
        is_wanted: Callable[[Item], bool],
    ) -> None:
        self._items = items
        self._newcomers, self._hand_on, self._is_wanted = newcomers, hand_on, is_wanted
        self.open: dict[int, Item] = dict(enumerate(items))
        self.dropped: list[Item] = []
        self.ready: list[Said] = []
        self.n_inputs = len(items)

    def run(self, servable: Batchable) -> Exception | None:
        """Compute it to the end; return what ended it where inputs are still open."""
        ended: Exception | None = None
        try:
            for answer in servable.compute([item.prepared for item in self._items], self):
                self._note(answer)
        except Exception as error:
            ended = error
        if not self.open:
            return None
        return ended or RuntimeError(
            f"{len(self.open)} of {self.n_inputs} inputs were left without an answer"
        )

    def admit(self) -> Sequence[Any]:
        """Hand on what was answered, and take in those who came."""
        self._pass_on()
        joined = self._newcomers(len(self.open))
        self.open.update(enumerate(joined, self.n_inputs))
        self.n_inputs += len(joined)
        return [item.prepared for item in joined]

    def gone(self) -> Collection[int]:
        """Return those that nobody waits for; they are in the batch no more."""
        lost = [number for number, item in self.open.items() if not self._is_wanted(item)]
        self.dropped += [self.open.pop(number) for number in lost]
        return lost

    def _note(self, answer: Answer) -> None:
        item = self.open.get(answer.index)
        if item is None:
            if 0 <= answer.index < self.n_inputs and self.dropped:
                return  # it had begun to answer when it was told
            raise RuntimeError(f"an answer came for input {answer.index}, which is not open")
        self.ready.append((item, replace(answer, index=item.index)))
        if answer.last:
            del self.open[answer.index]
        else:
            item.is_told = True
            self._pass_on()

    def _pass_on(self) -> None:
        ready, self.ready = self.ready, []
        self._hand_on(ready)
