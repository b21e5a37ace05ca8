"""What the commands print: results on standard output, a next step on standard error."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topwork.errors import UsageError

if TYPE_CHECKING:
    from topwork.contracts import Estimate, FitRecord, TargetResult, TrunkCard
    from topwork.verbs import DataCheck, Model, Prediction, Surroundings

__all__ = [
    "show_bundle",
    "show_cache",
    "show_check",
    "show_evaluation",
    "show_fit",
    "show_plugins",
    "show_predictions",
    "show_server",
    "show_trunks",
]


def say(line: str = "") -> None:
    """Write a line to standard error."""
    print(line, file=sys.stderr)


def put(line: str = "") -> None:
    """Write a line to standard output."""
    print(line)


def put_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON value on one line."""
    put(json.dumps(value, ensure_ascii=False, allow_nan=False))


def put_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows in columns, the first row being the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# --- fit and evaluate ---------------------------------------------------------------------------------


def show_fit(model: Model, *, as_json: bool, seconds: float) -> None:
    """Tell how good the model is, where it is, and what to do next."""
    record, bundle = model.record, model.path
    report = bundle.with_name(f"{bundle.stem}.report.html")
    if as_json:
        put_json(_result(record, bundle, report, seconds))
        return
    _put_results(record)
    put(f"Bundle  {bundle}  ({bundle.stat().st_size / 1e6:.1f} MB)")
    put(f"Report  {report}")
    say()
    say("Next:")
    say(f"  topwork predict {bundle} FILE      what it says of a new one")
    say(f"  topwork serve {bundle}             an HTTP API and a page to try it on")


def show_evaluation(record: FitRecord, bundle: Path, report: Path | None, *, as_json: bool) -> None:
    """Tell how good the bundle is on these data."""
    if as_json:
        put_json(_result(record, bundle, report, record.seconds))
        return
    _put_results(record)
    if report is not None:
        put(f"Report  {report}")


def _result(record: FitRecord, bundle: Path, report: Path | None, seconds: float) -> dict[str, Any]:
    from topwork.verbs.recording import to_result_json

    return {
        "schema": 1,
        "targets": to_result_json(record.targets),
        "trunk": record.trunk.name,
        "recipe": record.recipe,
        "n_train": record.split.n_train + record.split.n_valid,
        "n_test": record.split.n_test,
        "rungs": [{"name": r.name, "seconds": r.seconds, "validation": r.validation} for r in record.rungs],
        "seconds": seconds,
        "seconds_to_first_model": record.seconds_to_first_model,
        "bundle": str(bundle),
        "report": None if report is None else str(report),
    }


def _put_results(record: FitRecord) -> None:
    put()
    for name, result in record.targets.items():
        where = "these data" if record.kind == "evaluation" else "the test split"
        put(f"{name}: {len(result.labels)} labels; {record.split.n_test} rows of {where}")
        _put_metrics(result)
        put()
    for note in record.split.notes:
        put(f"Note: {note}")


def _put_metrics(result: TargetResult) -> None:
    baselines = list(result.baselines)
    rows = [["", "value", "95 % interval", *baselines]]
    for metric, estimate in result.test.items():
        others = [_number(metric, result.baselines[b].get(metric)) for b in baselines]
        rows.append(
            [f"  {metric.replace('_', ' ')}", _number(metric, estimate), _interval(metric, estimate), *others]
        )
    put_table(rows)


def _number(metric: str, estimate: Estimate | None) -> str:
    if estimate is None or estimate.value != estimate.value:
        return "–"
    return f"{estimate.value:.3f}" if metric == "log_loss" else f"{100 * estimate.value:.1f} %"


def _interval(metric: str, estimate: Estimate) -> str:
    if metric == "log_loss":
        return f"{estimate.low:.3f} to {estimate.high:.3f}"
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"


# --- predict ------------------------------------------------------------------------------------------


def show_predictions(model: Model, inputs: Sequence[object], form: str) -> int:
    """Write predictions as they come; return 1 when every input was bad, else 0."""
    writers = {"text": _write_text, "jsonl": _write_jsonl, "csv": _write_csv}
    if form not in writers:
        raise UsageError(f"--format {form!r} is not known; expected one of {', '.join(writers)}.")
    n_good = writers[form](model.stream(inputs), model)
    n_bad = len(inputs) - n_good
    if n_bad:
        say(f"{n_bad} of {len(inputs)} could not be read.")
    return 1 if inputs and not n_good else 0


def _write_text(predictions: Iterable[Prediction], model: Model) -> int:
    del model
    n_good = 0
    for one in predictions:
        if one.answer is None:
            say(f"{one.input}: {_one_line(one.problem)}")
            continue
        n_good += 1
        put(f"{one.input}\t{_in_words(one)}")
    return n_good


def _in_words(one: Prediction) -> str:
    if one.label is None:
        return json.dumps(one.answer, ensure_ascii=False)
    others = [f"{name} {value:.1%}" for name, value in list(one.probabilities.items())[1:3]]
    return f"{one.label} {one.probabilities[one.label]:.1%}" + (f"   ({', '.join(others)})" if others else "")


def _write_jsonl(predictions: Iterable[Prediction], model: Model) -> int:
    del model
    n_good = 0
    for one in predictions:
        n_good += one.answer is not None
        found = one.answer if one.answer is not None else {"error": _one_line(one.problem)}
        put_json({"input": one.input, **found})
    return n_good


def _write_csv(predictions: Iterable[Prediction], model: Model) -> int:
    labels = {name: target.labels for name, target in model.servable.targets.items()}
    if len(labels) != 1:
        raise UsageError("CSV holds one target; this model has several.", next_step="Use --format jsonl.")
    names = next(iter(labels.values()))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["input", "label", "error", *names])
    n_good = 0
    for one in predictions:
        n_good += one.answer is not None
        shares = [f"{one.probabilities[n]:.6f}" if n in one.probabilities else "" for n in names]
        table.writerow([one.input, one.label or "", _one_line(one.problem), *shares])
    return n_good


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


# --- serve --------------------------------------------------------------------------------------------


def show_server(url: str) -> None:
    """Tell where the server is and how to talk to it."""
    say(f"Ready at {url}    (page: {url}/   API: {url}/docs   stop: Ctrl-C)")
    say(f"  curl --data-binary @FILE {url}/predict")


# --- nouns --------------------------------------------------------------------------------------------


def show_check(found: DataCheck, *, as_json: bool) -> int:
    """Tell what the data look like; return 1 when a fit would refuse them."""
    if as_json:
        put_json(_check_json(found))
        return 0 if found.obstacle is None else 1
    for line in (found.dataset.layout, *found.dataset.understood, *found.findings.lines):
        put(line)
    if found.findings.rejected:
        put()
        put("Left out:")
        for one in found.findings.rejected:
            put(f"  {one.key}: {_one_line(one.reason)}")
    put()
    if found.split is None:
        put(f"A fit would refuse these data: {found.obstacle}")
        return 1
    put(f"{found.split.method}: {_sizes(found)}")
    for note in found.split.notes:
        put(f"Note: {note}")
    return 0


def _sizes(found: DataCheck) -> str:
    assert found.split is not None
    return (
        f"{len(found.split.train)} train, {len(found.split.valid)} validation, {len(found.split.test)} test"
    )


def _check_json(found: DataCheck) -> dict[str, Any]:
    split = found.split
    return {
        "schema": 1,
        "layout": found.dataset.layout,
        "understood": list(found.dataset.understood),
        "n_listed": len(found.dataset),
        "n_usable": len(found.findings.usable),
        "class_counts": {name: dict(counts) for name, counts in found.findings.class_counts.items()},
        "rejected": [{"input": one.key, "reason": one.reason} for one in found.findings.rejected],
        "findings": list(found.findings.lines),
        "split": None
        if split is None
        else {
            "method": split.method,
            "n_train": len(split.train),
            "n_valid": len(split.valid),
            "n_test": len(split.test),
        },
        "obstacle": found.obstacle,
    }


def show_plugins(*, as_json: bool) -> None:
    """List every plugin with the package that brought it."""
    from topwork.plugins import GROUPS, discover

    found = [plugin for kind in GROUPS for plugin in discover(kind).values()]
    if as_json:
        put_json(
            [
                {
                    "kind": p.kind[:-1],
                    "name": p.name,
                    "package": p.package,
                    "version": p.version,
                    "object": p.value,
                }
                for p in found
            ]
        )
        return
    rows = [[p.kind[:-1], p.name, f"{p.package} {p.version}", p.value] for p in found]
    put_table([["kind", "name", "package", "object"], *rows])


def show_trunks(around: Surroundings, *, as_json: bool) -> None:
    """List the catalogue; speeds are those that fits on this machine have measured."""
    from topwork.plugins import trunks
    from topwork.verbs.speeds import known_speeds

    cards = [trunk.card for trunk in trunks().values()]
    speeds = known_speeds(around)
    if as_json:
        put_json([{**_card_json(card), "items_per_s": speeds.get(card.name)} for card in cards])
        return
    head = ["name", "parameters", "input", "features", "source", "licence", "offline", "speed here"]
    put_table([head, *(_card_row(card, speeds.get(card.name)) for card in cards)])
    say()
    say("Others: timm/NAME, hf/ORG/NAME, or a local folder with config.json and model.safetensors.")


def _card_json(card: TrunkCard) -> dict[str, Any]:
    from dataclasses import asdict

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


def show_bundle(model: Model, *, as_json: bool) -> None:
    """Tell what a bundle that has just proven itself holds."""
    about = model.servable.about
    if as_json:
        put_json(about)
        return
    record = model.record
    put(f"{model.path}  {model.servable.bundle.identity[:16]}")
    put(f"Fitted {record.created} by topwork {record.topwork}: {record.command}")
    put(
        f"Trunk {record.trunk.name} ({record.trunk.licence}), recipe {record.recipe}, data: {record.data.layout}"
    )
    _put_results(record)
    put("Its golden examples were replayed: it answers as it did when it was fitted.")


def show_cache(around: Surroundings, *, as_json: bool) -> None:
    """Tell where the cache is and how full."""
    from topwork.verbs.fitting import open_cache

    usage = open_cache(around).usage()
    if as_json:
        put_json(
            {
                "folder": str(around.cache_dir),
                "n_entries": usage.n_entries,
                "size_bytes": usage.size_bytes,
                "limit_bytes": usage.limit_bytes,
            }
        )
        return
    size = f"{usage.size_bytes / 1e6:.0f} of {usage.limit_bytes / 1e6:.0f} MB"
    put(f"{around.cache_dir}: features of {usage.n_entries} inputs, {size}")
