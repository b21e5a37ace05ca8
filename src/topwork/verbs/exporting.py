"""`export`: a bundle in, its network as a file for other programs out, proven to answer as the bundle does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from topwork.bundle.goldens import TOLERANCE, Golden, difference
from topwork.bundle.interchange import opset_of, to_onnx
from topwork.contracts import Array, Precision, padded
from topwork.engines.graphs import is_quantized
from topwork.errors import MissingExtraError, ProofError, UsageError
from topwork.steps.options import Surroundings
from topwork.steps.places import require_file_place
from topwork.storage import write_atomically
from topwork.verbs.handing_on import writes_texts
from topwork.verbs.predicting import load

__all__ = ["Export", "ExportForm", "export"]

ExportForm: TypeAlias = Literal["onnx"]


@dataclass(frozen=True, slots=True)
class Export:
    """A file that `export` wrote.

    Attributes
    ----------
    path, n_bytes
        Where it is, and its size.
    opset
        Version of ONNX's operators.
    inputs, outputs
        Names to shapes; a word is an axis of any length.
    n_goldens
        Golden examples that it was held against, in ONNX Runtime.
    largest_difference
        The largest by which their outputs differ from those of the fit, as `topwork.bundle.TOLERANCE` has it.
    allowed
        The largest that may be.
    """

    path: Path
    n_bytes: int
    opset: int
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: Mapping[str, tuple[int | str, ...]]
    n_goldens: int
    largest_difference: float
    allowed: float
    runtime: str


def export(
    bundle: str | Path,
    out: str | Path,
    *,
    form: ExportForm = "onnx",
    only: str | Sequence[str] = (),
    around: Surroundings | None = None,
) -> Export:
    """Write the network of a bundle as one ONNX file, and prove that ONNX Runtime answers with it as the fit did.

    What the input must look like and what the outputs mean stand in the file's ``metadata_props``.

    Parameters
    ----------
    bundle, out
        What to export, and where the file goes; it ends in ``.onnx``.
    form
        Only ``onnx``.
    only
        Targets whose heads are in the file, in place of all.

    Raises
    ------
    UsageError
        ``out`` ends otherwise or would overwrite the bundle, the network is too large for one file, or writes texts.
    MissingExtraError
        ONNX Runtime is not installed, so that nothing could be proven.
    ProofError
        ONNX Runtime gives other answers; nothing is written.
    BundleError
        The bundle is damaged, tampered with or too new.
    StorageError
        The file cannot be written.
    """
    del form
    path = Path(out)
    if writes_texts(Path(bundle)):
        raise UsageError(
            f"{bundle} holds a language model, which does not go as one ONNX file.",
            next_step="`topwork bundle export` or topwork.export_writer write a folder of transformers.",
        )
    _require_place(path, Path(bundle))
    model = load(bundle, only=only, around=around)
    content = to_onnx(model.servable.bundle)
    session, version = _session(content)
    goldens = model.servable.bundle.goldens()
    precision: Precision = "int8" if is_quantized(model.servable.bundle.graph()) else "fp32"
    found = _parity(session, goldens)
    if not found <= TOLERANCE[precision]:
        raise ProofError(
            f"ONNX Runtime {version} answers otherwise than the bundle did when it was fitted: off by {found:.2g} of "
            f"the spread of an output; {TOLERANCE[precision]:g} is allowed in {precision}. Nothing was written.",
            next_step="Try another version of ONNX Runtime, and report this with the name of the trunk.",
        )
    write_atomically(path, content)
    return Export(
        path=path,
        n_bytes=len(content),
        opset=opset_of(content),
        inputs=_shapes(session.get_inputs()),
        outputs=_shapes(session.get_outputs()),
        n_goldens=len(goldens),
        largest_difference=found,
        allowed=TOLERANCE[precision],
        runtime=f"onnxruntime {version}",
    )


def _require_place(path: Path, bundle: Path) -> None:
    """Refuse a place before any work is done.

    Raises
    ------
    UsageError
        It has another suffix, or is a folder.
    StorageError
        Nothing can be written there.
    """
    if path.suffix != ".onnx":
        raise UsageError(
            f"{path} does not end in .onnx.", next_step=f"Give a name such as {bundle.stem}.onnx."
        )
    require_file_place(path)


def _session(content: bytes) -> tuple[Any, str]:
    """Start ONNX Runtime on the very bytes of the file, as another program would."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "Parity is proven with ONNX Runtime, which is not installed.",
            next_step="Install topwork with its extra onnxruntime.",
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session, str(onnxruntime.__version__)


def _parity(session: Any, goldens: Sequence[Golden]) -> float:
    """Return the largest difference over the golden examples, run all together and each alone."""
    names = [one.name for one in session.get_outputs()]

    def run(batch: Array) -> dict[str, Array]:
        return dict(zip(names, session.run(names, {"input": batch}), strict=True))

    together = difference(goldens, run(padded(golden.tensor for golden in goldens)))
    alone = [run(golden.tensor[None]) for golden in goldens]
    stacked = {name: np.concatenate([one[name] for one in alone]) for name in names}
    return float(np.max([together, difference(goldens, stacked)]))


def _shapes(values: Sequence[Any]) -> dict[str, tuple[int | str, ...]]:
    return {one.name: tuple(one.shape) for one in values}
