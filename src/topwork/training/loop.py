"""The training loop: steps, averaged weights, when to look at validation, checkpoints.

The order of rows comes from (seed, rung, epoch), what a feed draws from (seed, epoch, row) and what a layer draws, as
dropout does, from (seed, rung, step), so a run that was killed goes on to exactly the weights of one that was not. It
knows no architecture, no task and no file format: a `Trainee` gives features, a `Feed` gives batches, and losses are
named by their link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch

from topwork.contracts import Array, Goal, known_rows
from topwork.training.balancing import Balance
from topwork.training.checkpoint import Checkpoint
from topwork.training.draws import drawn_by, seed_of
from topwork.training.folding import precision_of
from topwork.training.judging import chosen_by_others
from topwork.training.losses import loss_of
from topwork.training.mixing import Part, parts_of
from topwork.training.ordering import order_of
from topwork.training.plan import RungPlan
from topwork.training.schedules import averaging, one_cycle, stepped
from topwork.training.sight import Check, Sight, relative_losses
from topwork.training.trainee import Feed, Trainee, put

__all__ = [
    "Control",
    "Outcome",
    "loss_of_part",
    "optimiser_of",
    "train",
]

_MOMENTUM = 0.9
_MOMENTS = {"exp_avg": "first", "exp_avg_sq": "second", "momentum_buffer": "momentum"}
"""What an optimiser keeps of a weight, and its name in a checkpoint."""
_WORST, _SMALL = 3.0, 0.5
"""A validation loss this many times the one at the start is no noise: the run diverges.

Starts below ``_SMALL`` nats count as that, for label smoothing alone takes a head that was sure of itself up there.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The best weights of a stretch of training, by name, and what validation said of them.

    They are on the processor, wherever they were trained. ``ended`` is ``done``, ``stopped`` (by the budget or the
    user) or ``diverged``. ``factors`` is what each of several targets weighed at the end, see `Balance.factors`.
    ``fair`` are scores of the validation rows, each by a look that other rows chose, see `chosen_by_others`; empty
    where the looks were at a part of so many rows that choosing among them flatters none.
    """

    weights: Mapping[str, torch.Tensor]
    check: Check
    n_steps: int
    ended: str
    factors: tuple[float, ...] = ()
    fair: Mapping[str, Array] = field(default_factory=dict)


@dataclass(eq=False)
class _Best:
    loss: float = float("inf")
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    check: Check | None = None
    looks: list[Mapping[str, Array]] = field(default_factory=list)


def train(
    rung: RungPlan,
    trainee: Trainee,
    feed: Feed,
    goals: tuple[Mapping[str, Goal], Mapping[str, Goal]],
    control: Control,
    *,
    seed: tuple[int, int],
) -> Outcome:
    """Train as planned, or until told to stop, and return the weights that validation liked best.

    Parameters
    ----------
    goals
        Of the training rows and of the validation rows.
    control
        What is asked and told between two steps.
    seed
        Of the fit, and the number of the rung.
    """
    state = trainee.state()
    optimiser = optimiser_of(rung, trainee)
    average = {name: tensor.detach().clone() for name, tensor in state.items()}
    best = _Best()
    start = _restore(control.found, trainee, average, optimiser, best)
    sight = Sight.of(rung, feed, goals[1], seed, control.bf16)
    first = sight.look(trainee) if start == 0 else None
    first_loss = control.found_value("first_loss") if first is None else first.loss
    balance = _balance(trainee, sight.goals, first, control.found)
    order = order_of(rung, feed.n_train, start, seed, sizes=feed.train_sizes)
    ended, n_done = "done", start
    for step, (rows, tensors) in zip(range(start, rung.n_steps), feed.batches(order), strict=False):
        if control.should_stop():
            ended = "stopped"
            break
        _set_rates(optimiser, rung, step)
        parts = parts_of(tensors, rows, rung, (*seed, step))
        with drawn_by(seed_of((*seed, step)), tensors.device.type):
            is_fine = _step(rung, trainee, (optimiser, balance), parts, goals[0], control.bf16)
        if not is_fine:
            ended = "diverged"
            break
        _fold_in(average, state, averaging(step, rung.average_decay))
        n_done = step + 1
        control.advance(1)
        is_look = n_done % rung.check_every == 0 or n_done == rung.n_steps
        if is_look and not _consider(
            best, trainee, sight, average, control, n_done, _WORST * max(first_loss, _SMALL)
        ):
            ended = "diverged"
            break
        if is_look or control.is_due():
            state_now = _checkpoint(trainee, average, optimiser, best, n_done, first_loss)
            control.keep(state_now if balance is None else balance.kept_in(state_now))
    if best.check is None and ended == "stopped" and n_done > start:
        _consider(best, trainee, sight, average, control, n_done, float("inf"))
    if best.weights and sight.rows is not None:
        put(state, best.weights)
        best.check = replace(sight, rows=None, goals=goals[1]).look(trainee)
        if not best.check.is_finite:
            return Outcome({}, best.check, n_done, "diverged")
    factors = () if balance is None else balance.factors()
    fair = chosen_by_others(goals[1], best.looks, seed=seed[0]) if best.looks and sight.rows is None else {}
    check = best.check or Check({}, float("inf"))
    return Outcome(_at_home(best.weights), check, n_done, ended, factors, fair)


@dataclass(frozen=True, eq=False)
class Control:
    """What the loop asks and tells between two steps.

    Attributes
    ----------
    should_stop
        Whether the budget is used up, or the user wants the best so far.
    advance
        Told after every step.
    keep
        Given the state after every look at validation.
    saw
        Told what validation said: steps done, and the check.
    found
        The state to go on from.
    is_due
        Whether the state is to be kept although validation has not been looked at.
    """

    should_stop: Callable[[], bool]
    advance: Callable[[int], None]
    keep: Callable[[Checkpoint], None]
    saw: Callable[[int, Check], None]
    bf16: bool
    found: Checkpoint | None = None
    is_due: Callable[[], bool] = lambda: False

    def found_value(self, name: str) -> float:
        """Return a number of the state that was found."""
        return float(self.found.values[name]) if self.found else float("nan")


# --- one step ---------------------------------------------------------------------------------------------


def optimiser_of(rung: RungPlan, trainee: Trainee) -> torch.optim.Optimizer:
    """Return the optimiser of a rung, a group for each stage and one for the heads, each with its ``peak`` rate."""
    groups = [
        {"params": list(group.values()), "lr": rate, "peak": rate}
        for group, rate in zip(trainee.groups(), rung.rates, strict=True)
    ]
    if rung.optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, weight_decay=rung.weight_decay)
    # On a processor one pass over a weight and its moments takes a fraction of the time that one operation each takes.
    on_processor = all(p.device.type == "cpu" for p in trainee.named().values())
    return torch.optim.AdamW(groups, weight_decay=rung.weight_decay, fused=on_processor or None)


def _set_rates(optimiser: torch.optim.Optimizer, rung: RungPlan, step: int) -> None:
    done = step / rung.n_steps
    share = stepped(step, rung.milestones) if rung.milestones else one_cycle(done, warmup=rung.warmup)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def _step(
    rung: RungPlan,
    trainee: Trainee,
    moved_by: tuple[torch.optim.Optimizer, Balance | None],
    parts: Iterable[Part],
    goals: Mapping[str, Goal],
    bf16: bool,
) -> bool:
    """Take one step; False where the loss or its gradient is no number, and nothing was changed."""
    optimiser, balance = moved_by
    optimiser.zero_grad(set_to_none=True)
    if balance is not None:
        balance.clear()
    finite = True
    for part in parts:
        loss = loss_of_part(trainee, part, goals, rung.smoothing, bf16, balance)
        loss.backward()  # type: ignore[no-untyped-call]
        finite = finite and bool(torch.isfinite(loss))
    norm = torch.nn.utils.clip_grad_norm_(
        list(trainee.named().values()), rung.largest_gradient or float("inf")
    )
    if not (finite and bool(torch.isfinite(norm))):
        return False
    optimiser.step()
    if balance is not None:
        balance.step()
    return True


def _balance(
    trainee: Trainee, goals: Mapping[str, Goal], first: Check | None, found: Checkpoint | None
) -> Balance | None:
    """Return what weighs the targets: by the first look at validation, or as it was found; None of a single one."""
    if len(goals) < 2:
        return None
    device = next(iter(trainee.named().values())).device
    if first is not None:
        return Balance(relative_losses(goals, first.scores), device)
    assert found is not None
    balance = Balance([1.0] * len(goals), device)
    balance.restore(found)
    return balance


def loss_of_part(
    trainee: Trainee,
    part: Part,
    goals: Mapping[str, Goal],
    smoothing: float,
    bf16: bool,
    balance: Balance | None = None,
) -> torch.Tensor:
    """Return what a part of a step adds to its loss; without a balance every target weighs the same."""
    with precision_of(bf16=bf16, device=part.tensors.device.type):
        features = trainee.features(part.tensors)
    features = features.float()
    own = _loss(trainee, features, (part.rows, part.whole), goals, smoothing, balance)
    if part.partners is None:
        return own
    other = _loss(trainee, features, (part.partners, part.whole), goals, smoothing, balance)
    return part.share * own + (1 - part.share) * other


def _loss(
    trainee: Trainee,
    features: torch.Tensor,
    rows: tuple[Array, Array],
    goals: Mapping[str, Goal],
    smoothing: float,
    balance: Balance | None,
) -> torch.Tensor:
    """Return what rows add to the loss of a step; ``rows`` are those of the part and of the step."""
    losses = []
    for name, goal in goals.items():
        truth = torch.from_numpy(goal.truth[rows[0]]).to(features.device)
        losses.append(loss_of(goal.link, trainee.heads[name](features), truth, smoothing) / goal.scale)
    shares = [_share(goal, *rows) for goal in goals.values()]
    if balance is not None:
        return balance.weigh(losses, shares)
    return torch.stack([loss * share for loss, share in zip(losses, shares, strict=True)]).mean()


def _share(goal: Goal, part: Array, whole: Array) -> float:
    """Return how many of a step's rows with a truth are in a part of it."""
    return float(known_rows(goal.truth[part]).sum() / max(1, known_rows(goal.truth[whole]).sum()))


def _fold_in(
    average: Mapping[str, torch.Tensor], parameters: Mapping[str, torch.Tensor], stays: float
) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(
            list(average.values()), [parameters[name].detach() for name in average], 1 - stays
        )


# --- looking at validation ----------------------------------------------------------------------------------


def _consider(
    best: _Best,
    trainee: Trainee,
    sight: Sight,
    average: Mapping[str, torch.Tensor],
    control: Control,
    step: int,
    worst: float,
) -> bool:
    """Look at validation with the averaged weights, and keep them if they are the best so far.

    False where a score is no number or the loss is ``worst`` or more: the run diverges, and nothing is kept of it.
    """
    state = trainee.state()
    own = {name: tensor.detach().clone() for name, tensor in state.items()}
    put(state, average)
    check = sight.look(trainee)
    put(state, own)
    if not (check.is_finite and check.loss < worst):
        return False
    control.saw(step, check)
    if check.rows is None:
        best.looks.append(check.scores)
    if check.loss < best.loss:
        best.loss, best.check = check.loss, check
        best.weights = {name: tensor.clone() for name, tensor in average.items()}
    return True


def _at_home(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu() for name, tensor in weights.items()}


# --- being killed, and going on -------------------------------------------------------------------------------


def _checkpoint(
    trainee: Trainee,
    average: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
    best: _Best,
    n_steps: int,
    first_loss: float,
) -> Checkpoint:
    tensors = {f"own.{name}": tensor for name, tensor in trainee.state().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for name, p in trainee.named().items():
        if not (moments := optimiser.state[p]):
            continue  # it takes no part in what is trained, and never had a gradient
        tensors |= {f"{short}.{name}": moments[own] for own, short in _MOMENTS.items() if own in moments}
    tensors |= {f"best.{name}": tensor for name, tensor in best.weights.items()}
    for number, look in enumerate(best.looks):
        # Copied, for one of them is the best check as well, and no file holds a tensor twice.
        tensors |= {f"look{number}.{name}": torch.tensor(scores) for name, scores in look.items()}
    if best.check is not None:
        tensors |= {f"scores.{name}": torch.from_numpy(scores) for name, scores in best.check.scores.items()}
    return Checkpoint(tensors, {"n_steps": n_steps, "best_loss": best.loss, "first_loss": first_loss})


def _restore(
    found: Checkpoint | None,
    trainee: Trainee,
    average: Mapping[str, torch.Tensor],
    optimiser: torch.optim.Optimizer,
    best: _Best,
) -> int:
    """Put back what `_checkpoint` took; return the steps that are done."""
    if found is None:
        return 0
    n_steps = int(found.values["n_steps"])
    put(trainee.state(), {name: found.tensors[f"own.{name}"] for name in average})
    put(average, {name: found.tensors[f"average.{name}"] for name in average})
    for name, p in trainee.named().items():
        if not any(f"{short}.{name}" in found.tensors for short in _MOMENTS.values()):
            continue
        kept = {own: found.tensors.get(f"{short}.{name}") for own, short in _MOMENTS.items()}
        optimiser.state[p] = {
            "step": torch.tensor(float(n_steps)),
            **{own: _like(p, tensor) for own, tensor in kept.items() if tensor is not None},
        }
    best.loss = float(found.values["best_loss"])
    best.weights = found.under("best.")
    scores = {name: tensor.numpy() for name, tensor in found.under("scores.").items()}
    best.check = Check(scores, best.loss) if scores else None
    while look := found.under(f"look{len(best.looks)}."):
        best.looks.append({name: tensor.numpy() for name, tensor in look.items()})
    return n_steps


def _like(parameter: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Return a tensor where the parameter is and laid out as it is: another layout may round another way."""
    return torch.empty_like(parameter).copy_(found)
