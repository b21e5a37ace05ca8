"""What a fit leaves on disk while it is not finished, so that it can go on after being killed.

One folder holds the plan, the state of the rung that is being trained, and what finished rungs came to. It knows
neither the network nor how it is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Moment, Workplace
from topwork.errors import StorageError, UsageError
from topwork.storage import write_atomically
from topwork.training.checkpoint import FACTORS
from topwork.training.plan import Plan, plan_from_json, plan_to_json

if TYPE_CHECKING:
    from topwork.training.checkpoint import Checkpoint
    from topwork.training.loop import Outcome

__all__ = ["Unfinished"]

_PLAN = "plan.json"
_FOUND = ("rungs", "kept_back_s", "contrast", "notes")
"""What a plan holds that its trial found, and that another run need not find again."""
_WITHOUT = "Training goes on without checkpoints"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The folder of a fit under way, or nothing where there is no workplace; ``tell`` hears what went wrong."""

    workplace: Workplace | None
    tell: Callable[[str], None]

    @property
    def folder(self) -> Path | None:
        """Where it is kept."""
        return None if self.workplace is None else self.workplace.folder

    @property
    def resumes(self) -> bool:
        """Whether an earlier run is to be gone on with."""
        return self.folder is not None and self.workplace is not None and self.workplace.resume

    def write_plan(self, plan: Plan) -> None:
        """Begin anew: forget an earlier run and write the plan down."""
        if self.folder is None:
            return
        try:
            for left in self.folder.glob("*.safetensors"):
                left.unlink()
            write_atomically(self.folder / _PLAN, plan_to_json(plan).encode())
        except (StorageError, OSError) as error:
            self.tell(f"The plan could not be written, so this fit cannot be resumed: {error}")

    def read_plan(self, now: Plan) -> Plan:
        """Return the plan of an earlier run, if it is one of the same fit; ``now`` is this fit's, without rungs.

        Raises
        ------
        UsageError
            There is none, or data, seed, steps, threads, device, number format or libraries are not those of now.
        """
        folder, found = self.folder, self.planned()
        if found is None:
            raise UsageError(
                f"There is no unfinished fit in {folder}.", next_step="Run the same command without --resume."
            )
        names = [f.name for f in fields(now) if f.name not in _FOUND]
        if wrong := [name for name in names if getattr(now, name) != getattr(found, name)]:
            told = (f"{n} was {getattr(found, n)!s:.160} and is {getattr(now, n)!s:.160}" for n in wrong)
            raise UsageError(
                f"The unfinished fit in {folder} was another one: {'; '.join(told)}.",
                next_step="Give the same data and options, or leave --resume out to begin anew.",
            )
        return found

    def planned(self) -> Plan | None:
        """Return the plan that is written down, whatever fit it is of; None where there is none to be read."""
        try:
            return None if self.folder is None else plan_from_json((self.folder / _PLAN).read_text("utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, number: int, state: Checkpoint, history: Sequence[Moment]) -> None:
        """Replace the state of the rung that is being trained; ``history`` is what validation said so far."""
        self._write("state", number, state, history)

    def found(self, number: int) -> Checkpoint | None:
        """Return the state in which an earlier run left a rung."""
        return self._read("state", number)

    def finish(self, number: int, outcome: Outcome, history: Sequence[Moment]) -> None:
        """Write down what a rung came to, unless it was stopped and may go on."""
        import torch

        from topwork.training.checkpoint import Checkpoint

        if outcome.ended == "stopped":
            return
        tensors = {f"best.{name}": tensor for name, tensor in outcome.weights.items()}
        tensors |= {f"scores.{name}": torch.from_numpy(s) for name, s in outcome.check.scores.items()}
        tensors |= {f"fair.{name}": torch.from_numpy(s) for name, s in outcome.fair.items()}
        values = {"loss": outcome.check.loss, "n_steps": outcome.n_steps, "ended": outcome.ended}
        told = {**values, FACTORS: list(outcome.factors)}
        self._write(f"rung{number}", number, Checkpoint(tensors, told), history)

    def finished(self, number: int) -> Outcome | None:
        """Return what a rung came to that an earlier run trained to its end."""
        from topwork.training.loop import Outcome
        from topwork.training.sight import Check

        found = self._read(f"rung{number}", number)
        if found is None:
            return None
        scores = {name: tensor.numpy() for name, tensor in found.under("scores.").items()}
        check = Check(scores, float(found.values["loss"]))
        ended, n_steps = str(found.values["ended"]), int(found.values["n_steps"])
        fair = {name: tensor.numpy() for name, tensor in found.under("fair.").items()}
        return Outcome(found.under("best."), check, n_steps, ended, _factors(found), fair)

    def best_so_far(self, number: int, n_valid: int) -> Outcome | None:
        """Return what the state of a rung holds, where its last look was at all validation rows."""
        from topwork.training.loop import Outcome
        from topwork.training.sight import Check

        found = self.found(number)
        if found is None:
            return None
        scores = {name: tensor.numpy() for name, tensor in found.under("scores.").items()}
        if not scores or any(len(one) != n_valid for one in scores.values()):
            return None
        check = Check(scores, float(found.values["best_loss"]))
        return Outcome(found.under("best."), check, int(found.values["n_steps"]), "stopped", _factors(found))

    def history(self) -> list[Moment]:
        """Return what validation said in an earlier run, up to its last file."""
        if self.folder is None or not self.resumes:
            return []
        from topwork.training.checkpoint import read_checkpoint

        return max(
            (_moments(read_checkpoint(path)) for path in self.folder.glob("*.safetensors")),
            key=len,
            default=[],
        )

    def history_of(self, number: int) -> list[Moment]:
        """Return what validation said of one rung in an earlier run."""
        return _moments(self._read(f"rung{number}", number) or self._read("state", number))

    def _write(self, kind: str, number: int, state: Checkpoint, history: Sequence[Moment]) -> None:
        from topwork.training.checkpoint import write_checkpoint

        if self.folder is None:
            return
        told = [asdict(moment) for moment in history]
        state = replace(state, values={**state.values, "rung": number, "history": told})
        try:
            write_checkpoint(self.folder / f"{kind}.safetensors", state)
        except StorageError as error:
            self.tell(f"{_WITHOUT}: {error}")

    def _read(self, kind: str, number: int) -> Checkpoint | None:
        from topwork.training.checkpoint import read_checkpoint

        if self.folder is None or not self.resumes:
            return None
        found = read_checkpoint(self.folder / f"{kind}.safetensors")
        return found if found is not None and found.values.get("rung") == number else None


def _moments(found: Checkpoint | None) -> list[Moment]:
    """Return the history in a file; nothing where it is of another version."""
    with suppress(TypeError, KeyError):
        return [] if found is None else [Moment(**one) for one in found.values["history"]]
    return []


def _factors(found: Checkpoint) -> tuple[float, ...]:
    """Return what each of several targets weighed in a state; nothing of a single one."""
    return tuple(float(one) for one in found.values.get(FACTORS, ()))
