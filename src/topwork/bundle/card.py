"""The model card of a bundle, with the header that Hugging Face reads.

It renders a fit record and knows no task. Text from data (labels, folder names) is escaped: a card is shown
as a web page.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from topwork.contracts import Estimate, FitRecord, Metrics, TargetResult, TrunkCard

__all__ = ["CARD", "render_card"]

CARD: Final = "README.md"

_LICENCES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0"),
    *("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
}
"""What Hugging Face calls the licences that trunks commonly have."""
_PIPELINES = frozenset({"image-classification", "text-classification", "audio-classification"})
_USE = """## Use

```
topwork predict MODEL.topwork FILES
topwork serve MODEL.topwork
```"""
_ESCAPES = str.maketrans({char: f"&#{ord(char)};" for char in "&<>|*_`[]\\#~"} | {"\n": " ", "\r": " "})


def render_card(name: str, record: FitRecord) -> str:
    """Return the card as Markdown behind a YAML header."""
    body = "\n\n".join(_body(name, record))
    return f"---\n{_header(name, record)}\n---\n\n{body}\n"


def _header(name: str, record: FitRecord) -> str:
    """Return the header; JSON is valid YAML, and quoting is its strong side."""
    tags = ["topwork", "transfer-learning", record.trunk.name, *sorted(_pipelines(record))]
    known = sorted(_pipelines(record) & _PIPELINES)
    fields: dict[str, object] = {
        **_licence(record.trunk),
        "library_name": "topwork",
        **({"pipeline_tag": known[0]} if known else {}),
        "tags": list(dict.fromkeys(tags)),
        "metrics": sorted({metric for target in record.targets.values() for metric in target.test}),
        "model-index": [{"name": name, "results": list(_results(record))}],
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in fields.items())


def _licence(trunk: TrunkCard) -> dict[str, str]:
    found = trunk.licence.lower().split(" ")[0]
    return {"license": found} if found in _LICENCES else {"license": "other", "license_name": trunk.licence}


def _pipelines(record: FitRecord) -> frozenset[str]:
    return frozenset(f"{record.data.modality}-{target.task}" for target in record.targets.values())


def _results(record: FitRecord) -> Iterator[dict[str, object]]:
    for name, target in record.targets.items():
        yield {
            "task": {"type": f"{record.data.modality}-{target.task}", "name": name},
            "dataset": {"type": record.data.name, "name": record.data.name, "split": "test"},
            "metrics": [
                {"type": metric, "name": f"{metric} (95 % interval {_interval(value)})", "value": value.value}
                for metric, value in target.test.items()
                if math.isfinite(value.value)
            ],
        }


def _body(name: str, record: FitRecord) -> Iterator[str]:
    yield f"# {_plain(name)}"
    yield (
        f"Fitted by topwork {_plain(record.topwork)} on {_plain(record.created)}: "
        f"recipe {_plain(record.recipe)} on the pretrained network {_plain(record.trunk.name)}."
    )
    for target_name, target in record.targets.items():
        yield from _target(target_name, target, record.split.n_test)
    yield from _data(record)
    yield from _trunk(record.trunk)
    yield _USE


def _target(name: str, target: TargetResult, n_test: int) -> Iterator[str]:
    yield f"## Target {_plain(name)}: {_plain(target.task)}"
    if target.labels:
        yield f"{len(target.labels)} labels: {_list(target.labels)}."
    yield f"On {n_test} test rows that nothing was chosen on, each figure with its 95 % interval:"
    yield _table(target.test, target.baselines)


def _table(test: Metrics, baselines: Mapping[str, Metrics]) -> str:
    rows = [("metric", "this model", *map(_plain, baselines)), ("---",) * (2 + len(baselines))]
    for metric, value in test.items():
        others = (_estimate(scores.get(metric)) for scores in baselines.values())
        rows.append((_plain(metric), _estimate(value), *others))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _data(record: FitRecord) -> Iterator[str]:
    data, split = record.data, record.split
    yield "## Data"
    yield (
        f"{_plain(data.name)}: {data.n_used} of {data.n_listed} inputs used; {split.n_train} to train, "
        f"{split.n_valid} to validate, {split.n_test} to test. {_plain(split.method)}"
    )
    if remarks := (*data.findings, *split.notes):
        yield "\n".join(f"- {_plain(remark)}" for remark in remarks)


def _trunk(trunk: TrunkCard) -> Iterator[str]:
    yield "## Pretrained network and licence"
    use = "" if trunk.commercial else " **Not for commercial use.**"
    yield (
        f"{_plain(trunk.name)} ({_plain(trunk.summary)}), {trunk.n_parameters:,} parameters, "
        f"from {_plain(trunk.source)}, licence {_plain(trunk.licence)}.{use}"
    )


def _list(labels: Iterable[str], limit: int = 100) -> str:
    names = [_plain(label) for label in labels]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _estimate(value: Estimate | None) -> str:
    return "" if value is None else f"{value.value:.4g} ({_interval(value)})"


def _interval(value: Estimate) -> str:
    return f"{value.low:.4g} to {value.high:.4g}"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return text.translate(_ESCAPES)
