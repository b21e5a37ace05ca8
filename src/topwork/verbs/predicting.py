"""`load` and `predict`: a bundle and inputs in, predictions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from topwork.bundle.compiling import open_model
from topwork.contracts import Modality
from topwork.errors import UsageError
from topwork.steps.options import Surroundings
from topwork.verbs.model import Model, Prediction

__all__ = ["input_files", "load", "predict"]


def load(bundle: str | Path, *, only: str | Sequence[str] = (), around: Surroundings | None = None) -> Model:
    """Open a bundle and prove that it still answers as it did when it was fitted.

    Parameters
    ----------
    only
        Targets to answer for, in place of all: the heads of the others are not computed, and a model of a single
        target answers with it alone.

    Raises
    ------
    BundleError
        It is damaged, tampered with or too new.
    UsageError
        It has no target of such a name.
    ProofError
        Decoder or network give other answers than at the time of the fit.
    """
    engine = around.engine if around else "auto"
    names = (only,) if isinstance(only, str) else tuple(only)
    model = Model(open_model(Path(bundle), engine=engine, only=names))
    model.prove()
    return model


def predict(
    bundle: str | Path, inputs: Sequence[str | Path], *, only: str | Sequence[str] = ()
) -> Iterator[Prediction]:
    """Predict for files, and for all inputs in folders; a bad file gets a problem, the others their answer.

    Parameters
    ----------
    only
        Targets to answer for, in place of all.

    Raises
    ------
    UsageError
        A path does not exist, a folder holds nothing that the model takes, or there is no such target.
    BundleError
        The bundle is damaged, tampered with or too new.
    """
    model = load(bundle, only=only)
    yield from model.stream(input_files([Path(one) for one in inputs], model.servable.modality))


def input_files(paths: Sequence[Path], modality: Modality) -> list[Path]:
    """Return the files named, and those in folders that have a suffix of the modality, in order.

    Raises
    ------
    UsageError
        A path does not exist, or a folder holds no such file.
    """
    return [file for path in paths for file in _files_of(path, modality)]


def _files_of(path: Path, modality: Modality) -> list[Path]:
    if not path.exists():
        raise UsageError(f"There is no {path}.", next_step="Check the name; a pattern must match something.")
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in modality.suffixes and p.is_file())
    if not found:
        raise UsageError(
            f"The folder {path} holds no {modality.wire.noun}; expected files ending in "
            f"{', '.join(sorted(modality.suffixes))}.",
            next_step="Name the files themselves to try them whatever they are called.",
        )
    return found
