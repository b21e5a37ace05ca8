"""The ladder climbs in order, keeps the rung that validation likes best, and goes on where it was left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch

from faulty_disks import mount, unmount
from tiny_material import ChainNetwork, TinyMaterial, features_of, tiny_job
from told import Told
from topwork.contracts import Afterwards, Array, Budget, FitJob, Fitted, Goal, Rung, Stage, Workplace
from topwork.errors import UsageError
from topwork.recipes.candidate import Candidate, chosen_of, reason_of
from topwork.recipes.ladder import LADDER
from topwork.recipes.probe import PROBE
from topwork.training.calibration import calibrate, cross_calibrate
from topwork.training.checkpoint import Checkpoint, read_checkpoint
from topwork.training.judging import losses_of_rows
from topwork.training.probe import log_loss

N_STEPS = 40
LEARNING = 160
"""Steps after which the tiny network has learnt what the probe cannot see."""


@dataclass
class Watch:
    """Answers whether to stop, counts how often it was asked, and may look at the workplace meanwhile."""

    look: Callable[[int], bool] = lambda _: False
    n_asked: int = 0

    def __call__(self) -> bool:
        self.n_asked += 1
        return self.look(self.n_asked)


def placed(job: FitJob, folder: Path, *, resume: bool = False, watch: Watch | None = None) -> FitJob:
    return replace(job, workplace=Workplace(folder, resume, watch or Watch()))


def on_material(job: FitJob, kind: type[TinyMaterial]) -> FitJob:
    assert isinstance(job.material, TinyMaterial)
    return replace(job, material=kind(job.material.pictures, job.material.memory_bytes))


def later_than(most: int, n: int) -> bool:
    return n > most


def plan_only(job: FitJob, folder: Path) -> None:
    """Write the plan, and stop before the first step."""
    LADDER(placed(job, folder, watch=Watch(partial(later_than, 1))))


def edit_plan(folder: Path, **changes: object) -> None:
    """Change every rung of the plan that a run left, and forget what was trained."""
    plan = json.loads((folder / "plan.json").read_text())
    for rung in plan["rungs"]:
        rung.update({k: v[rung["name"]] if isinstance(v, dict) else v for k, v in changes.items()})
    (folder / "plan.json").write_text(json.dumps(plan))
    for left in folder.glob("*.safetensors"):
        left.unlink()


def assert_same_model(one: Fitted, other: Fitted) -> None:
    assert one.weights.keys() == other.weights.keys()
    assert all(np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)
    for name, head in one.heads.items():
        assert np.array_equal(head.weight, other.heads[name].weight)
        assert np.array_equal(head.bias, other.heads[name].bias)
        assert np.array_equal(one.held_out[name], other.held_out[name], equal_nan=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a whole run leaves what it keeps."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> tuple[Fitted, int]:
    """A whole run, and how often it asked whether to stop."""
    watch = Watch()
    torch.set_num_threads(1)
    return LADDER(placed(tiny_job(n_steps=LEARNING), whole, watch=watch)), watch.n_asked


# --- the way up -----------------------------------------------------------------------------------------


def test_rungs_are_climbed_in_their_order_and_the_best_is_the_model(undisturbed: tuple[Fitted, int]) -> None:
    fitted, _ = undisturbed
    assert [rung.name for rung in fitted.rungs] == ["probe", "top", "all"]
    assert [rung.n_steps for rung in fitted.rungs] == [None, 64, 96]
    shares = [rung.trained_share for rung in fitted.rungs]
    assert shares[0] == 0.0
    assert 0.4 < (shares[1] or 0) < 1
    assert shares[2] == 1.0
    [chosen] = [rung for rung in fitted.rungs if rung.chosen]
    assert chosen.name == "all"
    assert chosen.validation > fitted.rungs[0].validation + 0.03
    assert chosen.gain is not None
    assert chosen.gain.value > 0.05
    assert [moment.rung for moment in fitted.history] == sorted(
        (m.rung for m in fitted.history), reverse=True
    )


def test_the_model_is_what_validation_saw(undisturbed: tuple[Fitted, int], whole: Path) -> None:
    """Weights and heads give what the last look gave, calibrated by all of it; what chose is calibrated by others."""
    job, (fitted, _) = tiny_job(n_steps=LEARNING), undisturbed
    assert fitted.weights.keys() == dict(ChainNetwork().named_parameters()).keys()
    assert isinstance(job.material, TinyMaterial)
    features = features_of(job.material, fitted.weights)
    head, valid = fitted.heads["pattern"], job.folds[0].valid
    scores = features @ head.weight.T + head.bias
    look = read_checkpoint(whole / "rung2.safetensors")
    assert look is not None
    truth, raw = job.goals["pattern"].truth[valid], look.under("scores.")["pattern"].numpy()
    assert np.allclose(scores[valid], calibrate(truth, raw).apply(raw), atol=1e-3)
    held_out, others = fitted.held_out["pattern"], cross_calibrate(truth, raw, seed=job.seed)
    assert np.array_equal(held_out[valid], others)
    assert np.isnan(held_out[job.folds[0].train]).all()
    loss = fitted.rungs[-1].log_loss
    assert loss is not None
    assert loss.value == pytest.approx(log_loss(truth, others))
    assert loss.value > log_loss(truth, scores[valid])


def test_the_same_job_gives_the_same_model_and_another_seed_another(undisturbed: tuple[Fitted, int]) -> None:
    """A place to keep checkpoints in changes nothing either."""
    one, other = undisturbed[0], LADDER(tiny_job(n_steps=LEARNING, seed=1))
    assert one.weights
    assert_same_model(LADDER(tiny_job(n_steps=LEARNING)), one)
    assert any(not np.array_equal(one.weights[name], value) for name, value in other.weights.items())


class Noise(TinyMaterial):
    """Variants show nothing at all, so training on them can only do harm."""

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        return np.asarray(draw.integers(0, 255, self.pictures[row].shape, dtype=np.uint8))


def test_a_rung_that_is_worse_is_not_the_model(tmp_path: Path) -> None:
    job = on_material(tiny_job(n_steps=N_STEPS), Noise)
    plan_only(job, tmp_path)
    edit_plan(tmp_path, check_every=1000, rates={"top": [0.1] * 3, "all": [0.1] * 5})
    fitted = LADDER(placed(job, tmp_path, resume=True))
    assert [rung.name for rung in fitted.rungs] == ["probe", "top", "all"]
    assert [rung.chosen for rung in fitted.rungs] == [True, False, False]
    assert all(rung.gain is not None and rung.gain.value < 0 for rung in fitted.rungs[1:])
    assert not fitted.weights
    probe = PROBE(job)
    assert_same_model(replace(fitted, weights={}), probe)


class NoiseAtFirst(TinyMaterial):
    """Variants of the rung of the upper stages show nothing, those of the next one are good."""

    def variant(self, row: int, draw: np.random.Generator) -> Array:
        good = super().variant(row, draw)
        return np.asarray(
            draw.integers(0, 255, good.shape, dtype=np.uint8) if len(self.asked) <= 8 * 160 else good
        )


@pytest.mark.parametrize(("kind", "started_from"), [(NoiseAtFirst, "probe"), (TinyMaterial, "top")])
def test_a_rung_starts_from_the_best_before_it(
    kind: type[TinyMaterial], started_from: str, tmp_path: Path
) -> None:
    job = on_material(tiny_job(n_steps=LEARNING), kind)
    plan_only(job, tmp_path)
    edit_plan(tmp_path, rates={"top": [0.02] * 3, "all": [1e-9] * 5}, check_every={"top": 1000, "all": 1})
    fitted = LADDER(placed(on_material(job, kind), tmp_path, resume=True))
    after_top = read_checkpoint(tmp_path / "rung1.safetensors")
    during_all = read_checkpoint(tmp_path / "state.safetensors")
    assert after_top is not None
    assert during_all is not None
    assert during_all.values["rung"] == 2
    before = dict(ChainNetwork().named_parameters())
    upper = [name for name in before if name.split(".")[1] in "23"]
    for name in upper:
        own, top = during_all.tensors[f"own.{name}"], after_top.tensors[f"best.{name}"]
        expected, other = (before[name], top) if started_from == "probe" else (top, before[name])
        assert torch.allclose(own, expected, atol=1e-5)
        assert not torch.allclose(own, other, atol=1e-3)
    gain = fitted.rungs[1].gain
    assert gain is not None
    assert (gain.value < 0) == (started_from == "probe")


def test_the_last_rung_is_climbed_only_where_the_one_before_was_a_gain(tmp_path: Path) -> None:
    """Without a limit of steps or time three rungs are planned."""
    for kind, n_rungs in ((Noise, 2), (TinyMaterial, 3)):
        job = replace(on_material(tiny_job(120, n_steps=None), kind), seed=1)
        fitted = LADDER(placed(job, tmp_path / kind.__name__))
        assert list(fitted.plan)[-3:] == ["top", "all", "longer"]
        climbed = [rung.name for rung in fitted.rungs if rung.name not in ("probe", "contrast")]
        assert len(climbed) == n_rungs


def test_a_network_that_cannot_be_cut_is_trained_whole() -> None:
    class Short(TinyMaterial):
        def stages(self, network: torch.nn.Module) -> tuple[Stage, ...]:
            return (Stage("whole", tuple(network.children())),)

    fitted = LADDER(on_material(tiny_job(n_steps=10), Short))
    assert [(rung.name, rung.n_steps) for rung in fitted.rungs] == [("probe", None), ("all", 10)]


# --- the choice -----------------------------------------------------------------------------------------


def rows(mean: float, spread: float, n: int = 400) -> Array:
    return mean + spread * np.where(np.arange(n) % 2, 1.0, -1.0)


_NONE: Mapping[int, float] = MappingProxyType({})


def choose(
    losses: list[Array],
    *,
    preferred: int | None = None,
    trained: Mapping[int, float] = _NONE,
    stopped: Sequence[int] = (),
) -> int:
    """Return which candidate is chosen by its losses.

    One may have been preferred by more rows than these; of some a share was trained.
    """
    more = {"a": np.zeros((1, 2))}
    return chosen_of(
        [
            Candidate(
                Rung(
                    "",
                    0.0,
                    0.0,
                    n_steps=9 if place in trained else None,
                    trained_share=trained.get(place),
                    notes=("stopped after 9 steps",) if place in stopped else (),
                ),
                {},
                one,
                held_out=more if place == preferred else {},
            )
            for place, one in enumerate(losses)
        ]
    )


def test_the_lowest_loss_is_chosen_and_of_equals_the_first() -> None:
    assert choose([rows(0.51, 1.0), rows(0.5, 1.0), rows(0.5, 1.0)]) == 1
    assert choose([rows(0.5, 1.0), rows(0.5, 1.0), rows(0.6, 1.0)], trained={1: 0.5, 2: 1.0}) == 0
    assert choose([rows(0.5, 1.0)]) == 0


def test_of_trained_ones_it_is_the_deepest_that_is_not_worse_by_more_than_a_standard_error() -> None:
    """The error of the difference is 1/20 of its spread with 400 rows."""
    frozen, best = rows(0.6, 0.0), rows(0.5, 0.0)
    near, far = rows(0.54, 1.0), rows(0.56, 1.0)
    assert choose([frozen, best, near], trained={1: 0.5, 2: 1.0}) == 2
    assert choose([frozen, best, far], trained={1: 0.5, 2: 1.0}) == 1
    assert choose([frozen, best, near, far], trained={1: 0.3, 2: 0.6, 3: 1.0}) == 2
    assert choose([frozen, best, far, near], trained={1: 0.3, 2: 0.6, 3: 1.0}) == 3
    assert choose([frozen, best, near], trained={1: 1.0, 2: 1.0}) == 1, "longer, and no deeper"
    assert choose([frozen, best, near, rows(0.541, 1.0)], trained={1: 0.5, 2: 1.0, 3: 1.0}) == 2
    assert choose([frozen, best, rows(0.541, 1.0), near], trained={1: 0.5, 2: 1.0, 3: 1.0}) == 3
    assert choose([frozen, best, near], trained={1: 0.5, 2: 1.0}, stopped=[2]) == 1, "not trained to its end"
    assert choose([frozen, near, best], trained={1: 0.5, 2: 1.0}, stopped=[2]) == 2
    assert choose([frozen, best, near], trained={1: 0.5}) == 1, "words beside it were no gain"
    assert choose([frozen, near, best], trained={1: 0.5}) == 2, "with words"
    assert choose([best, near], trained={1: 0.5}) == 0, "no gain on the frozen network"


def test_the_report_is_told_why_it_is_not_the_one_with_the_lowest_loss() -> None:
    near, best = (
        Candidate(Rung(name, 0.0, 0.0), {}, rows(mean, 0.0)) for name, mean in (("a", 0.6), ("b", 0.5))
    )
    assert reason_of([near, best], 1) == reason_of([replace(best, is_out=True), near], 1) == ()
    assert reason_of([best, near], 1) == (
        "trained deeper than b, and not worse by more than one standard error",
    )
    assert reason_of([near, best], 0) == ("b is not better by more than one standard error",)


def test_one_that_more_rows_preferred_is_left_for_more_than_a_standard_error() -> None:
    """The error of the difference is 1/20 of its spread with 400 rows."""
    best = rows(0.5, 0.0)
    assert choose([rows(0.54, 1.0), best], preferred=0) == 0
    assert choose([rows(0.56, 1.0), best], preferred=0) == 1
    assert choose([best, rows(0.54, 1.0)], preferred=0) == 0


def test_one_that_another_has_replaced_is_not_chosen() -> None:
    out = Candidate(Rung("", 0.0, 0.0), {}, rows(0.1, 0.0), is_out=True)
    assert chosen_of([out, replace(out, losses=rows(0.2, 0.0), is_out=False)]) == 1


def loss_of(truth: Array, scores: Array) -> Array:
    return losses_of_rows({"a": Goal(truth, "softmax", scores.shape[1])}, {"a": scores})


def test_a_rung_that_learnt_nothing_is_not_chosen_for_its_calibration() -> None:
    """The second rung's scores are the first one's times four: what it can gain is what calibration flatters.

    Calibrated by the rows that choose it gains on every one of 100 validation sets; calibrated by others it loses, as
    it does on fresh rows.
    """
    k, truth, fresh_truth = 10, np.arange(100) % 10, np.arange(2000) % 10
    gains: dict[str, list[float]] = {"same": [], "others": [], "fresh": []}
    n_chosen = {"same": 0, "others": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores, fresh = (
            1.2 * (1.2 * np.eye(k)[one] + rng.normal(size=(len(one), k))) for one in (truth, fresh_truth)
        )
        calibration = calibrate(truth, 4 * scores)
        rungs = {
            "same": calibration.apply(4 * scores),
            "others": cross_calibrate(truth, 4 * scores, seed=seed),
        }
        first = loss_of(truth, scores)
        for name, rung in rungs.items():
            gains[name].append(float((first - loss_of(truth, rung)).mean()))
            n_chosen[name] += choose([first, loss_of(truth, rung)], trained={1: 1.0})
        there = loss_of(fresh_truth, fresh) - loss_of(fresh_truth, calibration.apply(4 * fresh))
        gains["fresh"].append(float(there.mean()))
    assert min(gains["same"]) > 0
    assert n_chosen["same"] == 100
    assert np.mean(gains["others"]) == pytest.approx(np.mean(gains["fresh"]), abs=0.005)
    assert np.mean(gains["others"]) < -0.01
    assert n_chosen["others"] <= 15


# --- time -----------------------------------------------------------------------------------------------


def test_without_any_time_the_probe_is_the_model() -> None:
    fitted = LADDER(replace(tiny_job(n_steps=None), budget=Budget(lambda: 1.0, 1.0)))
    assert [(rung.name, rung.chosen) for rung in fitted.rungs] == [("probe", True)]
    assert not fitted.weights
    assert fitted.heads["pattern"].weight.shape == (3, 6)


def test_too_little_time_for_a_rung_leaves_the_probe() -> None:
    fitted = LADDER(replace(tiny_job(n_steps=None), budget=Budget(lambda: 0.0, 1.0001)))
    assert [(rung.name, rung.chosen) for rung in fitted.rungs] == [("probe", True)]


@pytest.mark.slow
def test_the_time_that_follows_the_recipe_is_kept_back_of_the_plan() -> None:
    """Where computing 100 rows again will take all of the budget, nothing is planned."""
    job = replace(tiny_job(n_steps=None), budget=Budget(lambda: 0.0, 100.0))
    for little in (Afterwards(), Afterwards(100, row_s=0.01), Afterwards(delivery_s=1.0)):
        assert len(LADDER(replace(job, afterwards=little)).rungs) > 1
    for all_of_it in (Afterwards(100, row_s=1.0), Afterwards(delivery_s=100.0)):
        fitted = LADDER(replace(job, afterwards=all_of_it))
        assert [(rung.name, rung.chosen) for rung in fitted.rungs] == [("probe", True)]
        assert not {"top", "all", "longer"} & set(fitted.plan)


def test_a_row_that_was_not_timed_takes_as_long_as_the_trial_says() -> None:
    """With a million million rows any time of one is too much; none of it counts where training has no end."""
    job = replace(tiny_job(n_steps=None), budget=Budget(lambda: 0.0, 100.0))
    assert len(LADDER(replace(job, afterwards=Afterwards(10**12))).rungs) == 1
    assert len(LADDER(replace(tiny_job(n_steps=20), afterwards=Afterwards(10**12))).rungs) > 1


@dataclass
class Leaping:
    """A clock that stands still until so many seconds before the deadline, when ``is_time`` says so."""

    deadline_s: float
    left_s: float
    is_time: Callable[[], bool]

    def __call__(self) -> float:
        return self.deadline_s - self.left_s if self.is_time() else 0.0


def kept_back_s(folder: Path) -> float:
    return float(json.loads((folder / "plan.json").read_text())["kept_back_s"])


@pytest.mark.parametrize(("left_s", "stops"), [(50.0, True), (80.0, False)])
def test_training_ends_while_there_is_time_for_what_follows(
    left_s: float, stops: bool, tmp_path: Path
) -> None:
    """Fifty seconds are kept back, and a few. A resumed run knows no speed any more, and keeps back as many."""
    clock = Leaping(500.0, left_s, (tmp_path / "plan.json").exists)
    job = replace(tiny_job(n_steps=None), budget=Budget(clock, clock.deadline_s))
    fitted = LADDER(placed(replace(job, afterwards=Afterwards(50, row_s=1.0)), tmp_path))
    assert (len(fitted.rungs) == 1) == stops
    assert 50 < kept_back_s(tmp_path) < 70
    for left in tmp_path.glob("*.safetensors"):
        left.unlink()
    resumed = LADDER(placed(job, tmp_path, resume=True))
    assert (len(resumed.rungs) == 1) == stops


def test_the_last_looks_are_kept_back_by_a_resumed_run_too(tmp_path: Path) -> None:
    job = tiny_job(3300, n_steps=None)
    assert len(job.folds[0].valid) > 1000
    plan_only(job, tmp_path)
    looks_s = kept_back_s(tmp_path)
    assert looks_s > 0
    for left_s, stops in ((0.5 * looks_s, True), (2 * looks_s, False)):
        budget = Budget(Leaping(500.0, 1.0 + left_s, lambda: True), 500.0)
        watch = Watch(partial(later_than, 3))  # ends the run that goes on
        fitted = LADDER(placed(replace(job, budget=budget), tmp_path, resume=True, watch=watch))
        assert len(fitted.rungs) == 1
        assert (watch.n_asked == 0) == stops


@dataclass
class Ticking:
    """A clock that goes on by itself, a little with every look at it."""

    now_s: float = 0.0
    looks: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        self.now_s += 0.05
        self.looks.append(self.now_s)
        return self.now_s


def test_time_that_runs_out_on_the_way_ends_with_the_best_so_far() -> None:
    """The plan believes in a fast machine; the clock then runs away from it."""
    fitted = LADDER(replace(tiny_job(n_steps=None), budget=Budget(Ticking(), 12.0)))
    assert len(fitted.rungs) >= 2
    assert any("stopped after" in note for rung in fitted.rungs for note in rung.notes)
    assert sum(rung.chosen for rung in fitted.rungs) == 1


# --- being stopped --------------------------------------------------------------------------------------


def test_a_wish_to_stop_at_any_moment_gives_the_best_so_far(tmp_path: Path) -> None:
    whole = Watch()
    reference = LADDER(placed(tiny_job(n_steps=N_STEPS), tmp_path, watch=whole))
    assert len(reference.rungs) == 3
    n_rungs = []
    for n_polls in (0, 1, 2, 5, whole.n_asked // 2, whole.n_asked - 5, whole.n_asked - 1):
        watch = Watch(partial(later_than, n_polls))
        fitted = LADDER(placed(tiny_job(n_steps=N_STEPS), tmp_path / str(n_polls), watch=watch))
        assert watch.n_asked <= n_polls + 4
        assert sum(rung.chosen for rung in fitted.rungs) == 1
        assert np.isfinite(fitted.heads["pattern"].weight).all()
        n_rungs.append(len(fitted.rungs))
    assert n_rungs == sorted(n_rungs)
    assert (n_rungs[0], n_rungs[-1]) == (1, 3)


# --- disks ----------------------------------------------------------------------------------------------


def test_a_full_disk_costs_the_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(disk, "8k")
    try:
        job, told = tiny_job(n_steps=N_STEPS), Told()
        fitted = LADDER(placed(replace(job, progress=told), disk / "work"))
        assert_same_model(fitted, LADDER(job))
        found = [note for note in fitted.notes if "goes on without checkpoints" in note]
        assert len(found) == 1
        assert "the disk is full" in found[0]
        assert found[0] in told.lines
    finally:
        unmount(disk)


def test_a_place_where_no_plan_can_be_written_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    fitted = LADDER(placed(tiny_job(n_steps=N_STEPS), tmp_path / "file" / "work"))
    assert any("cannot be resumed" in note for note in fitted.notes)
    assert len(fitted.rungs) == 3


# --- going on -------------------------------------------------------------------------------------------


class Killed(Exception):  # noqa: N818 - it is an event
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.99])
def test_a_run_that_was_killed_goes_on_to_the_same_model(
    share: float, undisturbed: tuple[Fitted, int], tmp_path: Path
) -> None:
    job, (reference, n_asked) = tiny_job(n_steps=LEARNING), undisturbed
    assert reference.weights

    def kill(n: int) -> bool:
        if n > share * n_asked:
            raise Killed
        return False

    with pytest.raises(Killed):
        LADDER(placed(job, tmp_path / "killed", watch=Watch(kill)))
    again = Watch()
    resumed = LADDER(placed(job, tmp_path / "killed", resume=True, watch=again))
    assert_same_model(resumed, reference)
    assert [rung.name for rung in resumed.rungs] == [rung.name for rung in reference.rungs]
    assert [rung.log_loss for rung in resumed.rungs] == [rung.log_loss for rung in reference.rungs]
    looks = [[(m.rung, m.n_steps, m.log_loss) for m in one.history] for one in (resumed, reference)]
    assert looks[0] == looks[1]
    if share > 0.5:
        assert again.n_asked < 0.8 * n_asked


def test_what_was_trained_before_a_kill_is_not_lost_by_a_wish_to_stop(tmp_path: Path) -> None:
    job, watch = tiny_job(n_steps=LEARNING), Watch()
    reference = LADDER(placed(job, tmp_path / "whole", watch=watch))

    def kill(n: int) -> bool:
        if n > 0.9 * watch.n_asked:
            raise Killed
        return False

    with pytest.raises(Killed):
        LADDER(placed(job, tmp_path / "killed", watch=Watch(kill)))
    impatient = LADDER(placed(job, tmp_path / "killed", resume=True, watch=Watch(lambda _: True)))
    assert [rung.name for rung in impatient.rungs][:2] == ["probe", "top"]
    assert impatient.rungs[1].log_loss == reference.rungs[1].log_loss


def test_the_number_of_steps_decides_alone_however_little_time_there_is(tmp_path: Path) -> None:
    job = tiny_job(n_steps=LEARNING)
    hurried = replace(job, budget=Budget(lambda: 1.0, 0.5))
    assert hurried.budget.remaining_s() < 0
    assert_same_model(LADDER(hurried), LADDER(job))


@pytest.mark.parametrize("name", ["state", "rung1"])
def test_a_damaged_checkpoint_is_trained_again(name: str, tmp_path: Path) -> None:
    job = tiny_job(n_steps=N_STEPS)
    reference = LADDER(placed(job, tmp_path))
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    assert_same_model(LADDER(placed(job, tmp_path, resume=True)), reference)


def test_a_fit_that_begins_anew_takes_nothing_from_an_old_one(tmp_path: Path) -> None:
    """Not even where it is killed before it has anything of its own."""
    LADDER(placed(tiny_job(n_steps=N_STEPS, seed=1), tmp_path))
    job = tiny_job(n_steps=N_STEPS)

    def kill(n: int) -> bool:
        if n == 2:
            raise Killed
        return False

    with pytest.raises(Killed):
        LADDER(placed(job, tmp_path, watch=Watch(kill)))
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert_same_model(LADDER(placed(job, tmp_path, resume=True)), LADDER(job))


class Counting(TinyMaterial):
    """Counts how often the highest convolution is computed while gradients are wanted."""

    n_computed = 0

    def network(self) -> torch.nn.Module:
        network = ChainNetwork(self.seed)

        def count(*_: object) -> None:
            self.n_computed += torch.is_grad_enabled()

        network.levels[-1][0].register_forward_hook(count)  # type: ignore[index]
        return network


@pytest.mark.parametrize("recompute", [False, True])
def test_activations_computed_twice_give_the_same_weights(
    recompute: bool, undisturbed: tuple[Fitted, int], tmp_path: Path
) -> None:
    """Twice on every rung: not three times where the rung before did it already."""
    job = tiny_job(n_steps=LEARNING)
    plan_only(job, tmp_path)
    edit_plan(tmp_path, recompute=recompute)
    job = on_material(job, Counting)
    assert_same_model(LADDER(placed(job, tmp_path, resume=True)), undisturbed[0])
    assert isinstance(job.material, Counting)
    assert job.material.n_computed == LEARNING * (1 + recompute)


def test_little_memory_computes_a_step_in_parts(tmp_path: Path) -> None:
    """With a few kilobytes there is no room for variants at the cut, nor for one whole example."""
    fitted = LADDER(placed(tiny_job(n_steps=10, memory_bytes=3000), tmp_path))
    assert [rung.name for rung in fitted.rungs] == ["probe", "all"]
    [rung] = json.loads((tmp_path / "plan.json").read_text())["rungs"]
    assert (rung["n_parts"], rung["recompute"]) == (32, True)


# --- what cannot go on ----------------------------------------------------------------------------------


def relabelled(job: FitJob) -> FitJob:
    goal = job.goals["pattern"]
    return replace(job, goals={"pattern": replace(goal, truth=np.roll(goal.truth, 1))})


CHANGES: dict[str, Callable[[FitJob], FitJob]] = {
    "seed was 0 and is 1": lambda job: replace(job, seed=1),
    "data was .* and is": relabelled,
    "data was [0-9a-f]+ and": lambda job: replace(job, features=job.features + 1),
    "data was": lambda job: replace(job, folds=job.folds[1:]),
    "seed was .*; data was": lambda job: relabelled(replace(job, seed=2)),
    f"steps was {N_STEPS} and is {N_STEPS + 1}": lambda job: replace(job, n_steps=N_STEPS + 1),
    "threads was 1 and is 2": lambda job: replace(
        job,
        material=TinyMaterial(job.material.pictures, n_threads=2),  # type: ignore[union-attr]
    ),
}


@pytest.mark.parametrize("told", CHANGES)
def test_another_fit_is_not_resumed_and_what_differs_is_named(told: str, tmp_path: Path) -> None:
    job = tiny_job(n_steps=N_STEPS)
    LADDER(placed(job, tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=told):
        LADDER(placed(CHANGES[told](job), tmp_path, resume=True))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [None, b"", b"null", b"{}", b"\xff"])
def test_there_must_be_something_to_resume(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"no unfinished fit in .*\n.*without --resume"):
        LADDER(placed(tiny_job(n_steps=N_STEPS), tmp_path, resume=True))


def test_features_alone_cannot_be_climbed_on() -> None:
    with pytest.raises(UsageError, match="this job holds only its features"):
        LADDER(replace(tiny_job(), material=None))


# --- several targets ------------------------------------------------------------------------------------


def two_targets(job: FitJob) -> FitJob:
    """Add a target that only a third of the rows has, and take the other away from a few that had it."""
    pattern = job.goals["pattern"].truth.copy()
    rare = np.where(np.arange(len(pattern)) % 4 == 0, pattern % 2, -1)
    pattern[::7] = -1
    goals = {"pattern": replace(job.goals["pattern"], truth=pattern), "rare": Goal(rare, "softmax", 2)}
    return replace(job, goals=goals)


def test_labels_may_be_missing_in_several_targets(tmp_path: Path) -> None:
    job = two_targets(tiny_job(n_steps=LEARNING))
    fitted = LADDER(placed(job, tmp_path))
    assert fitted.rungs[-1].chosen
    assert {name: head.weight.shape for name, head in fitted.heads.items()} == {
        "pattern": (3, 6),
        "rare": (2, 6),
    }
    valid = job.folds[0].valid
    for name, goal in job.goals.items():
        known = valid[goal.truth[valid] >= 0]
        assert np.mean(fitted.held_out[name][known].argmax(1) == goal.truth[known]) > 0.7
    assert_same_model(LADDER(placed(job, tmp_path, resume=True)), fitted)


def test_rows_without_any_label_change_nothing(tmp_path: Path) -> None:
    """What a row without a truth shows is of no consequence beyond its place in the order, and what is said of it."""
    job = tiny_job(n_steps=N_STEPS)
    assert isinstance(job.material, TinyMaterial)
    truth = job.goals["pattern"].truth.copy()
    hidden = np.flatnonzero(np.arange(len(truth)) % 5 == 0)
    truth[hidden] = -1
    jobs = []
    for shown in (0, 255):
        pictures = job.material.pictures.copy()
        pictures[hidden] = shown
        goals = {"pattern": replace(job.goals["pattern"], truth=truth)}
        jobs.append(replace(job, goals=goals, material=TinyMaterial(pictures)))
    one, other = (LADDER(job) for job in jobs)
    for fitted in (one, other):
        fitted.held_out["pattern"][hidden] = np.nan
    assert_same_model(one, other)


def test_a_checkpoint_of_another_rung_is_not_taken(tmp_path: Path) -> None:
    job = tiny_job(n_steps=N_STEPS)
    reference = LADDER(placed(job, tmp_path))
    state = read_checkpoint(tmp_path / "state.safetensors")
    assert isinstance(state, Checkpoint)
    assert state.values["rung"] == 2
    (tmp_path / "rung1.safetensors").unlink()
    assert_same_model(LADDER(placed(job, tmp_path, resume=True)), reference)
