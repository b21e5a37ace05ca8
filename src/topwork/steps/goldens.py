"""Choosing the inputs by which a bundle will be proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path

from topwork.contracts import Array, Dataset, Inspection, Modality
from topwork.errors import DataError, DecodeError
from topwork.steps.options import FitOptions
from topwork.steps.order import Order

__all__ = ["golden_inputs", "require_goldens"]

_N = 8
_LARGEST_BYTES = 200_000
_LOOK_AT = 200


def require_goldens(options: FitOptions, modality: Modality) -> None:
    """Find out before any work is done that the user's own folder of golden inputs will do.

    Raises
    ------
    DataError
        The folder holds fewer than two inputs that can be read.
    """
    if options.golden is not None:
        _from_folder(options.golden, modality)


def golden_inputs(order: Order, train: Array, seen: Sequence[Inspection]) -> list[tuple[str, bytes]]:
    """Return named encoded inputs: the user's own, training examples, or pictures of nothing.

    ``seen`` is what reading each row of the data set showed; a file that has changed since is no example.

    Raises
    ------
    DataError
        The user's folder holds fewer than two inputs that can be read.
    """
    if order.options.golden is not None:
        return _from_folder(order.options.golden, order.modality)
    if not order.options.keep_training_data:
        return _synthetic(order, _N)
    chosen = _from_training(order.dataset, train, seen)
    return chosen + _synthetic(order, max(0, 2 - len(chosen)))


def _synthetic(order: Order, n: int) -> list[tuple[str, bytes]]:
    made = order.modality.synthetic(n, 0, order.trunk.preprocessing)
    return [(f"synthetic {i}", one) for i, one in enumerate(made)]


def _from_training(dataset: Dataset, train: Array, seen: Sequence[Inspection]) -> list[tuple[str, bytes]]:
    """Take small files of as many labels as there are, so that the bundle stays small."""
    found: dict[tuple[str, str] | None, tuple[str, bytes]] = {}
    spare: list[tuple[str, bytes]] = []
    step = max(1, len(train) // _LOOK_AT)
    for row in train[::step]:
        with suppress(DecodeError):
            encoded = dataset.read(int(row))
            if len(encoded) <= _LARGEST_BYTES and sha256(encoded).digest() == seen[int(row)].content:
                one = (dataset.keys[int(row)], encoded)
                label = _label_of(dataset, int(row))
                spare.append(one) if label in found else found.setdefault(label, one)
        if len(found) >= _N:
            break
    return [*found.values(), *spare][:_N]


def _label_of(dataset: Dataset, row: int) -> tuple[str, str] | None:
    """Return the first target that a row has a label of, and the label."""
    there = ((name, label) for name, raw in dataset.targets.items() if (label := raw[row]) is not None)
    return next(there, None)


def _from_folder(folder: Path, modality: Modality) -> list[tuple[str, bytes]]:
    found = list(islice(_readable(folder, modality), _N))
    if len(found) < 2:
        holds = f"holds {len(found)} inputs that can be read" if folder.is_dir() else "is no folder"
        raise DataError(
            f"{folder} {holds}; a proof needs at least 2 golden inputs.",
            next_step="Put two or more small files into it, or leave --golden out.",
        )
    return found


def _readable(folder: Path, modality: Modality) -> Iterator[tuple[str, bytes]]:
    specification = modality.inspection_preprocessing()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in modality.suffixes:
            with suppress(DecodeError, OSError):
                encoded = path.read_bytes()
                modality.decode(encoded, specification)
                yield path.relative_to(folder).as_posix(), encoded
