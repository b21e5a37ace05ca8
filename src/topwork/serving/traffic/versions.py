"""Several versions of one model behind one name: which of them answers a request, and what came of it.

It is hosted like a single model, and a handler need not know the difference: it asks `chosen` who answers. It knows no
path and no settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from topwork.errors import UsageError
from topwork.serving.hosting import Hosted, State
from topwork.serving.traffic.shadows import Shadow
from topwork.serving.traffic.shares import ROUTE_KEY, Traffic

if TYPE_CHECKING:
    from topwork.contracts import Json
    from topwork.serving.http.messages import Request, Response
    from topwork.serving.http.visits import Visit
    from topwork.serving.limits import Limits
    from topwork.serving.traffic.shares import Ended, Phase

__all__ = ["VERSION_HEADER", "Versions", "signed"]

VERSION_HEADER: Final = "x-topwork-version"
SETTLED_S: Final = 0.01
"""By then the thread that answered has given its place back, so that its request is none that is still at work."""


class Versions(Hosted):
    """Versions of a model, of which each request gets one.

    Parameters
    ----------
    members
        Every version by its name.
    traffic
        Who gets how much; those that it does not name are asked by nobody but their shadow.
    shadows
        Those of the members that are asked beside the others, with what asks them.

    Raises
    ------
    UsageError
        Versions that answer by turns take other inputs, or give other answers, than one another.
    """

    def __init__(
        self, members: Mapping[str, Hosted], traffic: Traffic, shadows: Mapping[str, Shadow]
    ) -> None:
        lead = members[traffic.lead]
        super().__init__(lead.servable, lead.limits)
        _require_alike(members, traffic)
        self.members, self.traffic, self.shadows = members, traffic, shadows
        self._take_lead()

    def under(self, limits: Limits) -> Hosted:
        """Return the same versions within other limits; what was counted stays."""
        members = {name: member.under(limits) for name, member in self.members.items()}
        return Versions(members, self.traffic, self.shadows)

    def leaves(self) -> tuple[tuple[str, Hosted], ...]:
        """Return each version with its name behind that of the model."""
        return tuple((f"{self.servable.name}@{name}", one) for name, one in self.members.items())

    # --- its life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all versions."""
        for member in self.members.values():
            member.start()

    async def proven(self) -> None:
        """Wait for the proof of every version, and raise what one raised."""
        await asyncio.gather(*(member.proven() for member in self.members.values()))

    def stop(self) -> None:
        """Let all of them end."""
        for member in self.members.values():
            member.stop()

    @property
    def state(self) -> State:
        """Whether all of them are proven, and the one with most of the traffic may answer."""
        states = {name: member.state for name, member in self.members.items()}
        if self.failure() is not None or states[self.traffic.lead] == "failed":
            return "failed"
        return "starting" if "starting" in states.values() else "ready"

    @property
    def trouble(self) -> str | None:
        """Return nothing: a version that cannot answer says so itself, and fails the requests that it gets."""
        return None

    def failure(self) -> BaseException | None:
        """Return why a proof failed, if one did."""
        return next((found for one in self.members.values() if (found := one.failure()) is not None), None)

    # --- a request ----------------------------------------------------------------------------------------

    def chosen(self, request: Request) -> Hosted:
        """Return the version that answers a request, and count the request when it is over.

        Raises
        ------
        Refusal
            503: one of the versions is not proven yet, so that none is counted for it.
        """
        self.require_ready()
        version = request.visit.version = self.traffic.route(request.headers.get(ROUTE_KEY))
        request.cleanup.callback(self._ended, request.visit)
        return self.members[version]

    def _ended(self, visit: Visit) -> None:
        if visit.status is None:  # the client has left; nobody knows how it would have ended
            return
        if self.traffic.note(visit.version, failed=visit.failed, seconds=visit.duration_s):
            self._take_lead()
        if self.shadows and visit.read is not None and visit.answers:
            asyncio.get_running_loop().call_later(SETTLED_S, self._shadowed, visit)

    def _shadowed(self, visit: Visit) -> None:
        assert visit.read is not None
        for name, shadow in self.shadows.items():
            if self.members[name].state == "ready":
                shadow.offer(visit.read, visit.answers, lambda: self.is_quiet() and visit.is_quiet())

    def is_quiet(self) -> bool:
        """Tell whether no request is in line or at work with any version."""
        return all(one.is_quiet() for one in self.members.values())

    def settle(self, phase: Phase) -> None:
        """End the trial of a canary by hand.

        Raises
        ------
        UsageError
            There is none.
        """
        self.traffic.settle(phase)
        self._take_lead()

    def follow(self, ended: Ended | None, on_end: Callable[[Ended], None]) -> None:
        """Hold to how the canary's trial ended before, if it did, and tell of its next end."""
        self.traffic.on_end = on_end
        if ended is not None:
            self.traffic.resume(ended)
            self._take_lead()

    def _take_lead(self) -> None:
        """Look like the version that has most of the traffic, for whoever does not ask who is `chosen`."""
        lead = self.members[self.traffic.lead]
        self.servable, self.gate, self.workers = lead.servable, lead.gate, lead.workers
        self.crew, self.staff, self.watch = lead.crew, lead.staff, lead.watch

    def to_json(self) -> dict[str, Json]:
        """Return what an operator may want to know."""
        shadows: list[Json] = [
            {"version": name, **shadow.compared.to_json()} for name, shadow in self.shadows.items()
        ]
        return {**self.traffic.to_json(), "shadows": shadows}


def signed(response: Response, visit: Visit) -> Response:
    """Return a response that says which version answered, where there are several; other than ASCII is quoted."""
    if not visit.version:
        return response
    return replace(response, headers={**response.headers, VERSION_HEADER: quote(visit.version)})


def _require_alike(members: Mapping[str, Hosted], traffic: Traffic) -> None:
    first_name = traffic.lead
    first = members[first_name].servable
    for name, hosted in members.items():
        one = hosted.servable
        same = {"inputs": one.wire == first.wire}
        if name in traffic.counts:
            same["answers"] = one.answer_schema == first.answer_schema
            same["explanations"] = one.explanation_schema == first.explanation_schema
        if differing := [word for word, is_same in same.items() if not is_same]:
            raise UsageError(
                f"The versions {first_name} and {name} of {first.name} do not have the same {' and '.join(differing)}.",
                next_step="A client would get the one or the other; serve them under different names.",
            )
