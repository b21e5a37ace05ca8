"""What the commands under a noun print: data, plugins, trunks, bundles, the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from topwork.cli.lines import put, put_json, put_table, say
from topwork.cli.output import breakable, put_results

if TYPE_CHECKING:
    from topwork.contracts import Estimate, Split, TrunkCard
    from topwork.verbs import BundleComparison, DataCheck, Model, Surroundings
    from topwork.verbs.comparing import TargetComparison

__all__ = [
    "show_bundle",
    "show_cache",
    "show_check",
    "show_comparison",
    "show_plugins",
    "show_trunks",
]

_N_CLASSES = 30
"""Classes of a target that are counted line by line; a person reads no more."""
_WIDEST_LABEL = 40


# --- data ---------------------------------------------------------------------------------------------


def show_check(found: DataCheck, *, as_json: bool) -> int:
    """Tell what the data look like; return 1 when a fit would refuse them."""
    if as_json:
        put_json(_check_json(found))
    else:
        for line in _check_lines(found):
            put(line)
    return 0 if found.obstacle is None else 1


def _check_lines(found: DataCheck) -> Iterator[str]:
    yield from (found.dataset.layout, *found.dataset.understood)
    yield ""
    yield from found.findings.lines
    for target, counts in found.findings.class_counts.items():
        yield from ("", f"Usable inputs by {target}:", *_count_lines(counts))
    if found.findings.rejected:
        yield from ("", "Left out:")
        yield from (f"  {one.key}: {' '.join(one.reason.split())}" for one in found.findings.rejected)
    yield ""
    if found.split is None:
        yield f"A fit would refuse these data: {found.obstacle}"
    else:
        yield from (found.split.method, _sizes(found.split))
        yield from (f"Note: {note}" for note in found.split.notes)


def _count_lines(counts: Mapping[str, int]) -> Iterator[str]:
    shown = dict(sorted(counts.items(), key=lambda item: -item[1])[:_N_CLASSES])
    width = min(max(map(len, shown), default=0), _WIDEST_LABEL)
    yield from (f"  {label.ljust(width)}  {count:,}" for label, count in shown.items())
    if others := len(counts) - len(shown):
        yield f"  … and {others:,} with fewer"


def _sizes(split: Split) -> str:
    n_train, n_valid, n_test = len(split.train), len(split.valid), len(split.test)
    held_out = f"{n_valid:,} to validate" if n_valid else "validated by folds"
    return f"{n_train:,} inputs to train on ({held_out}), {n_test:,} to test on."


def _check_json(found: DataCheck) -> dict[str, Any]:
    return {
        "schema": 1,
        "layout": found.dataset.layout,
        "understood": list(found.dataset.understood),
        "n_listed": len(found.dataset) + len(found.dataset.rejected),
        "n_usable": len(found.findings.usable),
        "class_counts": {name: dict(counts) for name, counts in found.findings.class_counts.items()},
        "rejected": [{"input": one.key, "reason": one.reason} for one in found.findings.rejected],
        "findings": list(found.findings.lines),
        "split": None if found.split is None else _split_json(found.split),
        "obstacle": found.obstacle,
    }


def _split_json(split: Split) -> dict[str, Any]:
    sizes = {"n_train": len(split.train), "n_valid": len(split.valid), "n_test": len(split.test)}
    return {"method": split.method, **sizes, "notes": list(split.notes)}


# --- plugins and trunks -------------------------------------------------------------------------------


def show_plugins(*, as_json: bool) -> None:
    """List every plugin with the package that brought it."""
    from topwork.plugins import GROUPS, discover

    found = [plugin for kind in GROUPS for plugin in discover(kind).values()]
    keys = ("kind", "name", "package", "version", "object")
    rows = [[p.kind[:-1], p.name, p.package, p.version, p.value] for p in found]
    if as_json:
        put_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        put_table([keys, *rows])


def show_trunks(around: Surroundings, *, as_json: bool) -> None:
    """List the catalogue; speeds are those that fits on this machine have measured."""
    from topwork.plugins import trunks, writers
    from topwork.steps.speeds import known_speeds
    from topwork.trunks import is_here

    found = [*(one.card for one in trunks().values()), *(one.card for one in writers().values())]
    cards = [replace(card, offline=is_here(card, around.cache_dir)) for card in found]
    speeds = known_speeds(around)
    if as_json:
        put_json([{**_card_json(card), "items_per_s": speeds.get(card.name)} for card in cards])
        return
    head = ["name", "parameters", "input", "features", "source", "licence", "offline", "speed here"]
    put_table([head, *(_card_row(card, speeds.get(card.name)) for card in cards)])
    say()
    say("Others: timm/NAME, hf/ORG/NAME, or a local folder with config.json and model.safetensors.")


def _card_json(card: TrunkCard) -> dict[str, Any]:
    return {**asdict(card), "offers": sorted(card.offers), "input_size": list(card.input_size)}


def _card_row(card: TrunkCard, speed: float | None) -> list[str]:
    return [
        card.name,
        f"{card.n_parameters / 1e6:.1f} M",
        " × ".join(str(n) for n in card.input_size),
        str(card.n_features),
        card.source,
        card.licence if card.commercial else f"{card.licence} (non-commercial)",
        "yes" if card.offline else "no",
        f"{speed:.0f}/s" if speed else "not measured",
    ]


# --- bundles and the cache ----------------------------------------------------------------------------


def show_bundle(model: Model, *, as_json: bool) -> None:
    """Tell what a bundle that has just proven itself holds."""
    if as_json:
        put_json(model.servable.about)
        return
    record, trunk = model.record, model.record.trunk
    put(f"Bundle  {model.path}  {model.servable.bundle.identity[:16]}")
    put(f"Fitted  {record.created} by topwork {record.topwork}: {record.command}")
    put(f"Trunk   {trunk.name} ({trunk.licence}), recipe {record.recipe}")
    if (made := model.servable.bundle.manifest.optimized) is not None:
        put(f"Made    from {made.original[:16]}. Runs with {made.engine} in {made.precision}.")
    put(f"Data    {record.data.layout}")
    put_results(record)
    put("Its golden examples were replayed: it answers as it did when it was fitted.")


def show_comparison(found: BundleComparison, *, as_json: bool) -> None:
    """Tell which of two bundles is the better one on the same rows, and where they disagree."""
    if as_json:
        put_json(_comparison_json(found))
        return
    put(f"A  {found.a}")
    put(f"B  {found.b}")
    for name, one in found.targets.items():
        put()
        put(f"{name}, on {_inputs(one.n_rows)} that neither was fitted on")
        put_table(list(_comparison_rows(one)))
        put()
        put(_finding(one))
        if one.n_both_right + one.n_only_a_right + one.n_only_b_right + one.n_both_wrong:  # none of numbers
            put(
                f"Both right on {one.n_both_right:,}, only A on {one.n_only_a_right:,}, only B on "
                f"{one.n_only_b_right:,}, both wrong on {one.n_both_wrong:,}."
            )
        if one.disagreements:
            put()
            rows = [[f"  {d.key}", d.truth, d.a, d.b] for d in one.disagreements]
            put_table([["  they disagree on", "label", "A says", "B says"], *rows])
            if others := one.n_disagreements - len(rows):
                put(f"  … and {others:,} others")
    put()
    for note in found.notes:
        put(f"Note: {note}")


def _comparison_rows(one: TargetComparison) -> Iterator[list[str]]:
    from topwork.report.quantities import metric_title, spell

    yield ["", "A", "B", "A − B", "95 % interval"]
    for metric, difference in one.difference.items():
        values = (spell(metric, of.value) for of in (one.a[metric], one.b[metric]))
        yield [f"  {metric_title(metric)}", *map(breakable, (*values, *_difference(metric, difference)))]


def _difference(metric: str, difference: Estimate) -> tuple[str, str]:
    """Spell a difference and its interval: of two shares in points, for it is no share itself."""
    from topwork.report.quantities import is_share, spell, spell_interval

    if not is_share(metric):
        return spell(metric, difference.value), spell_interval(metric, difference)
    points, _, span = difference.in_points().partition(" (")
    return points if difference.is_known else "unknown", span.removesuffix(")")


def _finding(one: TargetComparison) -> str:
    """Return one sentence on the main metric."""
    from topwork.report.quantities import metric_title
    from topwork.report.verdicts import verdict

    metric = one.main_metric
    difference = one.difference[metric]
    found = verdict(metric, difference)
    if found.standing == "worse":
        return f"B is {breakable(verdict(metric, _turned(difference)).lead)} ({found.figures})."
    if found.standing == "better":
        return f"A is {breakable(found.lead)} ({found.figures})."
    title = metric_title(metric)
    if found.standing == "unknown":
        return f"The difference in {title} is not known."
    if not found.figures:
        return f"No difference is shown on these {_inputs(one.n_rows)}: none at all in {title}."
    value, span = breakable(found.figures).split(", ", 1)
    return f"No difference is shown on these {_inputs(one.n_rows)}: A − B is {value} of {title}, and may be {span}."


def _turned(difference: Estimate) -> Estimate:
    """Return b minus a of a minus b."""
    from topwork.contracts import Estimate

    return Estimate(-difference.value, -difference.high, -difference.low)


def _inputs(n: int) -> str:
    from topwork.report.quantities import counted

    return breakable(counted(n, "input"))


def _comparison_json(found: BundleComparison) -> dict[str, Any]:
    from topwork.steps.recording import metrics_json

    return {
        "schema": 1,
        "a": found.a,
        "b": found.b,
        "targets": {
            name: {
                **asdict(one),
                **{key: metrics_json(getattr(one, key)) for key in ("a", "b", "difference")},
            }
            for name, one in found.targets.items()
        },
        "notes": list(found.notes),
        "seconds": found.seconds,
    }


def show_cache(around: Surroundings, *, as_json: bool) -> None:
    """Tell where the cache is and how full."""
    from topwork.steps.transfer import open_cache

    cache = open_cache(around)
    usage = cache.usage()
    if as_json:
        put_json({"folder": str(around.cache_dir), **asdict(usage)})
        return
    size = f"{usage.size_bytes / 1e6:.0f} of {usage.limit_bytes / 1e6:.0f} MB"
    put(f"{around.cache_dir}: {usage.n_entries:,} cached features, {size}")
    if cache.trouble:
        say(f"Note: {cache.trouble}.")
