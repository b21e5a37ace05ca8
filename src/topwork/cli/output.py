"""What fit, evaluate, predict and serve print: results on standard output, a next step on standard error."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from topwork.cli.lines import number, one_line, prompt_for, put, put_json, put_table, say
from topwork.cli.sources import asked_again
from topwork.errors import UsageError

if TYPE_CHECKING:
    from topwork.contracts import FitRecord, TargetResult, TriedTrunk, TrunkChoice, Wire
    from topwork.serving.succession import Changes
    from topwork.verbs import FitEstimate, FitOptions, Model, Prediction, RateSearch, Writer

__all__ = [
    "breakable",
    "put_results",
    "put_schema",
    "show_changes",
    "show_estimate",
    "show_evaluation",
    "show_fit",
    "show_predictions",
    "show_rates",
    "show_server",
]


# --- fit and evaluate ---------------------------------------------------------------------------------


def show_fit(
    model: Model | Writer, data: Path | None = None, *, as_json: bool, seconds: float, quiet: bool = False
) -> None:
    """Tell how good the model is, where it is, and what to do next."""
    record, bundle = model.record, model.path
    report = bundle.with_name(f"{bundle.stem}.report.html")
    if as_json:
        put_json(_result(record, bundle, report, seconds))
        return
    put_results(record)
    if record.trunk_choice is not None:
        _put_trunks(record.trunk_choice)
    if len(record.rungs) > 1:
        _put_rungs(record)
    for note in record.notes:
        put(breakable(f"{record.recipe.capitalize():<8}{note}"))
    proof_s = sum(record.proof_seconds.values())
    put(f"Took    {seconds:.1f} s" + (f", of which the proof {proof_s:.1f} s" if proof_s else ""))
    put(f"Bundle  {bundle}  ({bundle.stat().st_size / 1e6:.1f} MB)")
    put(f"Report  {report}")
    if (labels := getattr(model, "labels", None)) is not None:
        put(f"Labels  {labels}  (those that look wrong)")
    if not quiet:
        _say_next(model, data)


def _put_rungs(record: FitRecord) -> None:
    """Write what each rung gained and cost."""
    from topwork.report.quantities import spell
    from topwork.report.words import validation_metric

    metric = validation_metric(record) or "accuracy"
    rows = [["  rung", "validation", record.rungs[0].loss_name, "gain, 95 % interval", "seconds", ""]]
    for rung in record.rungs:
        loss = "" if rung.log_loss is None else f"{rung.log_loss.value:.3f}"
        gain = (
            ""
            if rung.gain is None
            else f"{rung.gain.value:+.3f}  {rung.gain.low:+.3f} to {rung.gain.high:+.3f}"
        )
        score, chosen = spell(metric, rung.validation), "chosen" if rung.chosen else ""
        cells = (score, loss, gain, f"{rung.seconds:.1f}", chosen)
        rows.append([f"  {rung.name}", *map(breakable, cells)])
    put_table(rows)
    for rung in record.rungs:
        if rung.chosen and rung.n_steps is not None and rung.notes:
            put(f"  {rung.name}: {'; '.join(rung.notes)}")
    put()


def _put_trunks(choice: TrunkChoice) -> None:
    """Write what each trunk that was tried came to, the best first, and which one was taken and why."""
    if choice.tried:
        head = [f"  trunk, on {choice.n_rows:,} inputs", choice.loss_name, "95 % interval", "score"]
        put_table([[*head, "LogME", "H-score", "inputs/s", "seconds"], *map(_trunk_row, choice.tried)])
        put()
    put(choice.why)


def _trunk_row(one: TriedTrunk) -> list[str]:
    loss = [one.note, ""]
    if one.loss is not None:
        loss = [f"{one.loss.value:.3f}", f"{one.loss.low:.3f} to {one.loss.high:.3f}"]
    figures = ["" if value is None else f"{value:.3f}" for value in (one.score, one.log_me, one.h_score)]
    speed = "" if one.items_per_s is None else f"{one.items_per_s:.0f}"
    return [f"  {one.name}", *loss, *figures, speed, f"{one.seconds:.1f}"]


def _say_next(model: Model | Writer, data: Path | None) -> None:
    record, name = model.record, shlex.quote(str(model.path))
    if (vocabulary := getattr(model, "vocabulary", None)) is None:
        steps = _steps_of_answers(record, name)
    else:
        prompt = prompt_for(vocabulary.prompt_ending) if vocabulary.prompt_ending else '"A BEGINNING"'
        steps = [(f"topwork generate {name} {prompt}", "how it goes on")]
    if record.data.rejected and data is not None:
        steps.append((f"topwork data check {shlex.quote(str(data))}", "which inputs were left out, and why"))
    width = max(len(command) for command, _ in steps)
    say()
    say("Next:")
    for command, purpose in steps:
        say(f"  {command.ljust(width)}   {purpose}")


def _steps_of_answers(record: FitRecord, name: str) -> list[tuple[str, str]]:
    return [
        (f"topwork predict {name} {_example(record)}", "what it says of a new one"),
        (f"topwork serve {name}", "an HTTP API and a page to try it on"),
    ]


def _example(record: FitRecord) -> str:
    """Return how a new input stands on the command line: a file, or a text itself."""
    from topwork.inputs import modality

    return '"A TEXT"' if modality(record.trunk.modality).wire.in_json == "text" else "FILE"


def show_estimate(found: FitEstimate, data: Path, options: FitOptions, *, as_json: bool) -> None:
    """Tell what a fit would take."""
    if as_json:
        ranges = [{"name": f.name, "unit": f.unit, "low": f.low, "high": f.high} for f in found.forecasts]
        put_json(
            {"schema": 1, "n_rows": found.n_rows, "forecasts": ranges, "seconds": found.seconds}
            | {"notes": list(found.notes)}
        )
        return
    rows = [["", "time", "peak memory"]]
    memory = {f.name: f for f in found.forecasts if f.unit == "bytes"}
    for one in found.forecasts:
        if one.unit == "seconds":
            held = memory.get(one.name)
            cells = (
                f"{_span(one.low)} to {_span(one.high)}",
                (f"{held.low / 1e9:.1f} to {held.high / 1e9:.1f} GB" if held else ""),
            )
            rows.append([f"  {one.name}", *cells])
    put(f"{found.n_rows:,} inputs; {found.n_tried} of them were tried, in {found.seconds:.1f} s")
    put_table(rows)
    put("The rung longer is climbed only where the one before was a gain; the proof takes its own time.")
    for note in found.notes:
        put(f"Note: {note}")
    say()
    say("Next:")
    say(
        f"  topwork fit {shlex.quote(str(data))}{asked_again(options)} --budget TIME   never longer than that"
    )


def show_rates(found: RateSearch, data: Path, options: FitOptions, *, as_json: bool) -> None:
    """Tell what a sweep of the learning rate suggests, and where its curve is drawn."""
    plot = None if found.plot is None else str(found.plot)
    if as_json:
        curve = {"rates": found.rates.tolist(), "losses": found.losses.tolist()}
        put_json(
            {"schema": 1, "suggestions": found.suggestions, **curve, "ended": found.ended, "plot": plot}
            | {"n_rows": found.n_rows, "seconds": found.seconds}
        )
        return
    put(f"{len(found.rates)} steps on {found.n_rows:,} inputs, {found.ended}, in {found.seconds:.1f} s")
    put_table([["", "rate"], *([f"  {name}", f"{rate:.1e}"] for name, rate in found.suggestions.items())])
    put(f"Plot    {plot}")
    say()
    say("Next:")
    valley = found.suggestions["valley"]
    words = f"{shlex.quote(str(data))}{asked_again(options)}"
    say(f"  topwork fit {words} --recipe full --set rate={valley:.1e}")


def _span(seconds: float) -> str:
    from topwork.report.quantities import duration

    return duration(seconds).replace("\u00a0", " ")


def show_evaluation(record: FitRecord, bundle: Path, report: Path | None, *, as_json: bool) -> None:
    """Tell how good the bundle is on these data."""
    if as_json:
        put_json(_result(record, bundle, report, record.seconds))
        return
    put_results(record)
    if report is not None:
        put(f"Report  {report}")


def _result(record: FitRecord, bundle: Path, report: Path | None, seconds: float) -> dict[str, Any]:
    from topwork.report.words import cautions
    from topwork.steps.choosing import choice_json
    from topwork.steps.recording import to_result_json

    return {
        "schema": 1,
        "targets": to_result_json(record.targets),
        "cautions": [breakable(one) for one in cautions(record)],
        "trunk": record.trunk.name,
        **choice_json(record.trunk_choice),
        "recipe": record.recipe,
        "n_train": record.split.n_train + record.split.n_valid,
        "n_test": record.split.n_test,
        "rungs": [
            {
                "name": r.name,
                "seconds": r.seconds,
                "validation": r.validation if r.validation == r.validation else None,
                "chosen": r.chosen,
                **({"weighs": dict(r.weighs)} if r.weighs else {}),
            }
            for r in record.rungs
        ],
        "proof_seconds": dict(record.proof_seconds),
        "seconds": seconds,
        "seconds_to_first_model": record.seconds_to_first_model,
        "bundle": str(bundle),
        "report": None if report is None else str(report),
    }


def put_results(record: FitRecord) -> None:
    """Write the metrics of every target, with intervals and baselines, and what must be known of them."""
    from topwork.report.quantities import counted
    from topwork.report.words import cautions

    where = "of these data" if record.kind == "evaluation" else "of the test split"
    for name, result in record.targets.items():
        put()
        kind = counted(len(result.labels), "class", "classes") if result.labels else result.task
        inputs = counted(record.split.n_test if result.n_test is None else result.n_test, "input")
        put(breakable(f"{name}: {kind}, measured on {inputs} {where}"))
        _put_metrics(result)
    put()
    for caution in cautions(record):
        put(breakable(f"Note: {caution}"))


def _put_metrics(result: TargetResult) -> None:
    from topwork.report.quantities import metric_title, spell, spell_interval

    rivals = {one.name: one.metrics for one in result.comparisons} or result.baselines
    rows = [["", "value", "95 % interval", *rivals]]
    for metric, estimate in result.test.items():
        others = [spell(metric, m[metric].value) if metric in m else "" for m in rivals.values()]
        cells = spell(metric, estimate.value), spell_interval(metric, estimate)
        rows.append([f"  {metric_title(metric)}", *map(breakable, (*cells, *others))])
    put_table(rows)


def breakable(text: str) -> str:
    """Return the text with common blanks, which a program that reads the output splits at."""
    return text.replace("\u00a0", " ")


# --- predict ------------------------------------------------------------------------------------------


def show_predictions(model: Model, inputs: Sequence[object], form: Literal["text", "jsonl", "csv"]) -> int:
    """Write predictions as they come; return 1 when every input was bad, else 0."""
    write = {"text": _write_text, "jsonl": _write_jsonl, "csv": _write_csv}[form]
    n_good = write(_named(model, inputs), model)
    if n_good < len(inputs):
        say(f"{len(inputs) - n_good} of {len(inputs)} could not be read.")
    return 1 if inputs and not n_good else 0


def _named(model: Model, inputs: Sequence[object]) -> Iterator[Prediction]:
    """Call what came on standard input what it was called on the command line."""
    for one, prediction in zip(inputs, model.stream(inputs), strict=True):
        yield replace(prediction, input="-") if isinstance(one, bytes) else prediction


def _write_text(predictions: Iterable[Prediction], model: Model) -> int:
    names = list(model.servable.targets)
    n_good = 0
    for one in predictions:
        if one.answer is None:
            say(f"{one.input}: {_problem(one)}")
            continue
        n_good += 1
        told = (
            [f"{name}: {_in_words(one.of(name))}" for name in names] if len(names) > 1 else [_in_words(one)]
        )
        put(f"{one.input}\t{'; '.join(told)}{_doubts(one)}")
    return n_good


def _doubts(one: Prediction) -> str:
    """Say what speaks against believing an answer: costs, and that its input is unlike the training data."""
    told = [
        *(["better asked"] if one.abstains else []),
        *(["out of domain"] if one.in_domain is False else []),
    ]
    return f"   [{', '.join(told)}]" if told else ""


def _in_words(one: Prediction) -> str:
    if one.value is not None:
        return number(one.value) + (f"   ({number(one.low)} to {number(one.high)})" if one.is_bounded else "")
    if one.labels is not None:
        return (
            ", ".join(f"{name} {one.probabilities[name]:.1%}" for name in one.labels) or "none of the labels"
        )
    if one.risk is not None:
        left = ", ".join(f"{share:.1%} left at {number(time)}" for time, share in one.survival.items())
        band = f"{one.band} risk, " if one.band else ""
        return f"{band}{number(one.risk)} times the average" + (f"   ({left})" if left else "")
    if one.label is None:
        return json.dumps(one.answer, ensure_ascii=False)
    others = [f"{name} {value:.1%}" for name, value in one.probabilities.items() if name != one.label][:2]
    return f"{one.label} {one.probabilities[one.label]:.1%}" + (f"   ({', '.join(others)})" if others else "")


def _write_jsonl(predictions: Iterable[Prediction], model: Model) -> int:
    del model
    n_good = 0
    for one in predictions:
        n_good += one.answer is not None
        found = one.answer if one.answer is not None else {"error": _problem(one)}
        put_json({"input": one.input, **found})
    return n_good


def _write_csv(predictions: Iterable[Prediction], model: Model) -> int:
    labels = {name: target.labels for name, target in model.servable.targets.items()}
    if len(labels) != 1:
        raise UsageError(
            "CSV holds one target; this model has several.",
            next_step="Name one with --only, or use --format jsonl.",
        )
    names = next(iter(labels.values()))
    table = csv.writer(sys.stdout, lineterminator="\n")
    said_of_answer: list[str] = list(model.servable.answer_schema["properties"])  # type: ignore[arg-type]
    if not names:
        return _write_values(predictions, table, said_of_answer)
    several = next(iter(model.servable.targets.values())).link == "sigmoid"
    doubts = [name for name in ("in_domain", "abstains") if name in said_of_answer]
    table.writerow(["input", "labels" if several else "label", "error", *doubts, *names])
    n_good = 0
    for one in predictions:
        n_good += one.answer is not None
        shares = [f"{one.probabilities[n]:.6f}" if n in one.probabilities else "" for n in names]
        # A JSON list, because a label may hold whatever sign would separate them.
        said = json.dumps(one.labels, ensure_ascii=False) if one.labels is not None else one.label or ""
        told = [_cell((one.answer or {}).get(name)) for name in doubts]
        table.writerow([one.input, said, _problem(one), *told, *shares])
    return n_good


def _write_values(predictions: Iterable[Prediction], table: Any, names: Sequence[str]) -> int:
    """Write what has no classes, such as a number and its bounds: numbers with all their digits, lists as JSON."""
    table.writerow(["input", *names, "error"])
    n_good = 0
    for one in predictions:
        n_good += one.answer is not None
        cells = ((one.answer or {}).get(name) for name in names)
        table.writerow([one.input, *map(_cell, cells), _problem(one)])
    return n_good


def _cell(found: object) -> str:
    if found is None or isinstance(found, str):
        return found or ""
    return repr(found) if isinstance(found, float) else json.dumps(found, ensure_ascii=False)


def _problem(one: Prediction) -> str:
    return one_line(" ".join((one.problem or "").split()))


# --- serve --------------------------------------------------------------------------------------------


def show_server(url: str, wire: Wire, keys: Path | None = None) -> None:
    """Tell where the server is, how to talk to it, and which file of keys it asks."""
    sample = {"text": '"A TEXT"', "numbers": "[0.1, 2]"}.get(wire.in_json)
    sent = f"""--json '{{"input": {sample}}}'""" if sample else "-F file=@FILE"
    say(f"Ready at {url}")
    say(f"  page   {url}/")
    say(f"  API    {url}/docs")
    shown = '-H "X-API-Key: $KEY" ' if keys is not None else ""
    say(f"  try    curl {shown}{sent} {url}/predict")
    say(f"  keys   {keys or 'none are asked for'}")
    say("  stop   Ctrl-C")


def show_changes(changes: Changes) -> None:
    """Tell what a look at the settings of a running server changed."""
    named = (("opened", changes.opened), ("kept", changes.kept), ("removed", changes.removed))
    told = [f"{word} {', '.join(names)}" for word, names in named if names]
    say(f"Settings applied: {'; '.join([*told, *(['other limits'] if changes.limits else [])])}.")


def put_schema() -> None:
    """Write the JSON Schema of a server's settings file."""
    from topwork.serving.settings.schema import text

    print(text(), end="")
