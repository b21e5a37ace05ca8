"""What is noted of one request on its way, for whoever counts or compares afterwards. It knows no model and no HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from topwork.contracts import Answer
    from topwork.serving.http.bodies import Input

__all__ = ["Visit"]


@dataclass(slots=True)
class Visit:
    """One request, as far as it has come.

    Attributes
    ----------
    version
        Which version of its model answers it; empty where there is but one.
    began_s, ended_s
        When its body was there and when its answer was, in seconds of the event loop; None before that. Of a stream,
        when its first answer was.
    read
        Takes its inputs out of its body, where predictions are asked for.
    answers
        All of its answers; empty where it streams.
    status
        Of its response; None until then, and where the client has left.
    is_quiet
        Tells whether the whole server has nothing to do.
    """

    version: str = ""
    began_s: float | None = None
    ended_s: float | None = None
    read: Callable[[], Sequence[Input]] | None = None
    answers: tuple[Answer, ...] = ()
    status: int | None = None
    is_quiet: Callable[[], bool] = lambda: True

    def answered(self, at_s: float, answers: Sequence[Answer] = ()) -> None:
        """Note when the answer was there, and all of it where it is complete."""
        self.ended_s, self.answers = at_s, tuple(answers)

    @property
    def failed(self) -> bool:
        """Whether the client got no answer because of the server: too much to do, too late, or a mistake."""
        return self.status is not None and (self.status == 429 or self.status >= 500)

    @property
    def duration_s(self) -> float | None:
        """Seconds from the body to the answer, in line and at work; None where it was not answered."""
        if self.began_s is None or self.ended_s is None or self.failed:
            return None
        return self.ended_s - self.began_s
