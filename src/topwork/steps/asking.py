"""From names to the objects behind them, before anything is read: what is asked for is refused here or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path

from topwork import plugins
from topwork.contracts import (
    Dataset,
    PoolingRecipe,
    Recipe,
    ResizableTrunk,
    SizingRecipe,
    Task,
    TextTrunk,
    Trunk,
    has_classes,
)
from topwork.data.check import require_possible
from topwork.data.columns import Columns
from topwork.data.corrections import apply, read_corrections
from topwork.data.reading import read
from topwork.errors import DataError, DecodeError, UsageError
from topwork.inputs import modality as modality_named
from topwork.steps.candidates import candidates, is_auto, named_with
from topwork.steps.events import with_events
from topwork.steps.goldens import require_goldens
from topwork.steps.kinds import require_tasks, tasks_of, uncounted
from topwork.steps.omission import require_base
from topwork.steps.onward import trunk_of
from topwork.steps.options import DEFAULT_RECIPE, FitOptions, Surroundings
from topwork.steps.order import Order
from topwork.steps.settings import with_settings
from topwork.tasks.numbers import is_number
from topwork.trunks import DEFAULTS, IdentityTrunk, resolve

__all__ = ["look_up"]

_N_SIZED = 32
"""Pictures that are looked at for how large they are."""
_MANY = 20
"""Of more different numbers than this, and fewer than this many rows of each, labels are hardly meant."""


def look_up(
    data: str | Path | Columns,
    trunk: str | None,
    recipe: str,
    seed: int,
    budget: str | float | None,
    options: FitOptions,
    around: Surroundings,
) -> Order:
    """Turn names into objects and say what the data set was taken for."""
    found_recipe = with_settings(plugins.recipe(recipe), options.recipe_settings)
    require_tasks(options.task)
    # A trunk that is named is found before the data are read, which may take long; the default depends on them.
    named = () if trunk is None or not is_auto(trunk) else _named(trunk, options)
    found_trunk = (
        None if (trunk is None or is_auto(trunk)) and options.onward is None else _trunk(trunk, options)
    )
    dataset = read(data, options.reading())
    tasks = tasks_of(options.task, dataset.targets)
    dataset = with_events(dataset, options.event, tasks)
    found_trunk = found_trunk or _trunk(DEFAULTS[dataset.modality], options)
    found_trunk = _pooled(found_trunk, found_recipe)
    found_trunk = _sized(found_trunk, found_recipe, dataset, around)
    _require_fit(found_trunk, found_recipe, tasks)
    _require_kind(found_trunk, dataset)
    found_trunk = _as_long_as(found_trunk, dataset)
    found_recipe = _recipe_for(found_trunk, found_recipe, around)
    if options.labels is not None:
        dataset = apply(dataset, read_corrections(options.labels))
    dataset = replace(dataset, understood=(*dataset.understood, *_numbers(dataset, tasks)))
    for line in (dataset.layout, *dataset.understood):
        around.progress.say(line)
    modality = modality_named(dataset.modality)
    require_goldens(options, modality)
    order = Order(dataset, modality, found_trunk, found_recipe, tasks, seed, budget, options, around)
    _require_slices(order)
    _require_cost(order)
    _require_test(order)
    require_possible(dataset, uncounted(tasks))
    require_base(order)
    return _with_candidates(order, named) if is_auto(trunk) else order


def _with_candidates(order: Order, named: tuple[Trunk, ...]) -> Order:
    """Return the order with what its trunk is to be chosen from; its own, the default, is one where it is here.

    Raises
    ------
    UsageError
        A trunk that is named takes something else than the data hold, or lacks what recipe or task need.
    """
    for one in named:
        _require_fit(one, order.recipe, order.tasks)
        _require_kind(one, order.dataset)
    needs = order.recipe.requires.union(*(task.needs for task in order.tasks.values()))
    here = candidates(order.trunk, named, needs, order.around.cache_dir)
    pooled = (_pooled(one, order.recipe) for one in here)
    found = tuple(_sized(one, order.recipe, order.dataset, order.around) for one in pooled)
    return replace(order, trunk=found[0], candidates=found)


def _named(trunk: str, options: FitOptions) -> tuple[Trunk, ...]:
    """Return the trunks that are named beside those that are here.

    Raises
    ------
    UsageError
        There is a bundle to go on from.
    """
    if options.onward is not None:
        raise UsageError(
            f"A fit that goes on from {options.onward} has its trunk; there is none to choose.",
            next_step="Leave --trunk out, or fit without --from.",
        )
    return named_with(trunk)


def _numbers(dataset: Dataset, tasks: Mapping[str, Task]) -> Iterator[str]:
    """Say which targets look like numbers to be predicted, where they are taken for labels."""
    for name, raw in dataset.targets.items():
        if not has_classes(tasks[name].link):
            continue
        values = [one for one in raw if one is not None]
        n_different = len(set(values))
        if n_different > max(_MANY, len(values) // _MANY) and all(map(is_number, values)):
            yield (
                f"Column {name!r} holds {n_different:,} different numbers, and each is taken for a label of its own; "
                f"`--task {f'{name}=' if len(tasks) > 1 else ''}regression` predicts the number."
            )


def _trunk(name: str | None, options: FitOptions) -> Trunk:
    """Find the trunk that is named, or that of the bundle to go on from."""
    if options.onward is None:
        assert name is not None
        return resolve(name, plugins.trunks())
    return trunk_of(options.onward, name)


def _pooled(trunk: Trunk, recipe: Recipe) -> Trunk:
    """Return the trunk with its tokens pooled as the recipe wants it, where it has tokens."""
    how = recipe.pooling if isinstance(recipe, PoolingRecipe) else ""
    return trunk.pooled(how) if how and isinstance(trunk, TextTrunk) else trunk


def _sized(trunk: Trunk, recipe: Recipe, dataset: Dataset, around: Surroundings) -> Trunk:
    """Return the trunk for pictures of the size that the recipe wants, where it takes such."""
    if not isinstance(recipe, SizingRecipe) or not isinstance(trunk, ResizableTrunk):
        return trunk
    side_px = recipe.side_px(*_usual_size(dataset))
    try:
        return trunk if side_px is None else trunk.of_side(side_px)
    except UsageError as error:
        around.progress.say(f"{error} They stay at that size.")
        return trunk


def _usual_size(dataset: Dataset) -> tuple[int, int]:
    """Return height and width in pixels of the middle one by area of some pictures; none where none can be read."""
    kind, found = modality_named(dataset.modality), []
    for row in range(0, len(dataset), max(1, len(dataset) // _N_SIZED)):
        with suppress(DecodeError):
            facts = kind.decode(dataset.read(row), kind.inspection_preprocessing()).facts
            found.append((int(facts["height"]), int(facts["width"])))
    found.sort(key=prod)
    return found[len(found) // 2] if found else (0, 0)


def _as_long_as(trunk: Trunk, dataset: Dataset) -> Trunk:
    """Return the trunk for inputs as long as the first of the data, where it leaves that to them.

    Raises
    ------
    DataError
        No input can be read.
    """
    if not isinstance(trunk, IdentityTrunk):
        return trunk
    kind = modality_named(dataset.modality)
    for row in range(len(dataset)):
        with suppress(DecodeError):
            return trunk.of_length(
                len(kind.decode(dataset.read(row), kind.inspection_preprocessing()).tensor)
            )
    raise DataError(
        f"None of {len(dataset):,} {kind.wire.noun}s can be read.", next_step="`topwork data check` says why."
    )


def _recipe_for(trunk: Trunk, recipe: Recipe, around: Surroundings) -> Recipe:
    """Return the recipe; in place of the default one its first rung, where a trunk has no weights to go on with."""
    if trunk.card.n_parameters or recipe.name != DEFAULT_RECIPE:
        return recipe
    around.progress.say(
        f"The trunk {trunk.card.name} has no weights to train, so the probe is fitted and no more."
    )
    return plugins.recipe("probe")


def _require_fit(trunk: Trunk, recipe: Recipe, tasks: Mapping[str, Task]) -> None:
    """Refuse a trunk that lacks what recipe or task need."""
    asked = [(f"task {task.name!r}", task.needs) for task in tasks.values()]
    for what, needs in ((f"recipe {recipe.name!r}", recipe.requires), *asked):
        if missing := needs - trunk.card.offers:
            raise UsageError(
                f"The {what} needs {', '.join(sorted(missing))} of a trunk; {trunk.card.name!r} offers "
                f"{', '.join(sorted(trunk.card.offers)) or 'nothing'}.",
                next_step="Choose another trunk: `topwork trunks list`.",
            )


def _require_kind(trunk: Trunk, dataset: Dataset) -> None:
    """Refuse a trunk that was trained on another kind of input.

    Raises
    ------
    UsageError
        It takes something else than the data hold.
    """
    if trunk.card.modality != dataset.modality:
        raise UsageError(
            f"The trunk {trunk.card.name!r} takes inputs of the kind {trunk.card.modality!r}; the data were taken for "
            f"{dataset.modality!r}. {dataset.layout}",
            next_step=f"Leave --trunk out to take {DEFAULTS[dataset.modality]}, or name the right column with --input.",
        )


def _require_slices(order: Order) -> None:
    """Refuse columns that the data do not have, before any work is done.

    Raises
    ------
    UsageError
        A column is missing.
    """
    if missing := [name for name in order.options.slices if name not in order.dataset.columns]:
        there = ", ".join(order.dataset.columns) or "no other columns"
        raise UsageError(
            f"The data have no column {missing[0]!r} to slice by; they have {there}.",
            next_step="Name a column of the table, or leave --slice out.",
        )


def _require_test(order: Order) -> None:
    """Refuse a proof where no row is held out to prove anything on.

    Raises
    ------
    UsageError
        All rows are to be fitted on, and there is to be a proof.
    """
    has_sides = order.dataset.given is not None and any(order.dataset.given)
    if not order.options.test_fraction and order.options.proof != "none" and not has_sides:
        raise UsageError(
            "All rows are to be fitted on (test_fraction is 0), and a proof needs rows that were not.",
            next_step="Ask for no proof, or hold rows out.",
        )


def _require_cost(order: Order) -> None:
    """Refuse a cost that is none, before any work is done.

    Raises
    ------
    UsageError
        It is negative, infinite or no number, or answers are neither right nor wrong.
    """
    cost = order.options.error_cost
    if cost is not None and not any(has_classes(task.link) for task in order.tasks.values()):
        names = ", ".join(dict.fromkeys(repr(task.name) for task in order.tasks.values()))
        raise UsageError(
            f"Got a cost of errors, {cost:g}; the task {names} has no answers that are right or wrong.",
            next_step="Leave --error-cost out; what an answer is worth is told by its interval.",
        )
    if cost is not None and not 0 <= cost < float("inf"):
        raise UsageError(
            f"The cost of an error is {cost:g}; expected a finite number that is not negative.",
            next_step="Give how many times as much a wrong answer costs as asking a person, such as 10.",
        )
