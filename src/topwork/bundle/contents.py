"""What a bundle holds, written as one file and read back part by part.

It knows how each part is written, and leaves the file to the archive. It restores targets through a
function that it is given, so it knows no task; it opens no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias, cast, get_args

from topwork.bundle.archive import Archive, naming, write_archive
from topwork.bundle.base import FindTrunk, Omission, complete, find_trunk, find_writer, products_of, trunk_for
from topwork.bundle.card import CARD, render_card
from topwork.bundle.goldens import GOLDENS, Golden, decode_goldens, encode_goldens
from topwork.bundle.jsontext import decode_object, encode_json
from topwork.bundle.manifest import (
    ADAPTER,
    EXAMPLES,
    Base,
    Manifest,
    Optimized,
    StoredTarget,
    decode_manifest,
    describe_parts,
    encode_manifest,
    format_of,
    golden_part,
)
from topwork.bundle.record import RECORD, record_from_json, record_to_json
from topwork.bundle.tensors import decode_arrays, encode_arrays
from topwork.bundle.topology import TOPOLOGY, WEIGHTS, check_graph
from topwork.contracts import (
    Array,
    FitRecord,
    Graph,
    Json,
    LanguageModel,
    LowRank,
    Preprocessing,
    Side,
    Target,
    Trunk,
    TrunkCard,
)
from topwork.engines.grafting import scores_name, trim
from topwork.errors import BundleError, TopworkError, UsageError
from topwork.inputs.vocabulary import WRITING

__all__ = ["Bundle", "Contents", "Restore", "open_bundle", "require_answering", "restore_target", "save"]

STATISTICS: Final = "statistics.safetensors"
SPLIT: Final = "split.json"

Restore: TypeAlias = Callable[[str, Mapping[str, Json]], Target]
"""Makes a target again out of the name of its task and the state that it gave."""


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """All that goes into a bundle.

    Attributes
    ----------
    graph
        The network with its heads; its outputs are ``features`` and ``scores.<target>``.
    sides
        Key of each used row (or a hash of it, where keys are not to be told) to its side.
    statistics
        Named arrays that describe the training data, for later comparison.
    goldens
        At least two.
    omitted
        What is not written, because a trunk has it; None to write every weight.
    examples
        Tensors of training inputs as the network takes them, for who calibrates it later; there may be none.
    optimized
        What it runs with, where it was made for a machine.
    """

    name: str
    graph: Graph
    preprocessing: Preprocessing
    trunk: TrunkCard
    targets: Mapping[str, Target]
    sides: Mapping[str, Side]
    statistics: Mapping[str, Array]
    record: FitRecord
    goldens: tuple[Golden, ...]
    omitted: Omission | None = None
    examples: tuple[Array, ...] = ()
    optimized: Optimized | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """An opened bundle, whole and unchanged when it was opened; each part is read, and checked, when asked for.

    ``targets`` may be some of those that were fitted; then all that it gives is of these alone.
    """

    archive: Archive
    targets: Mapping[str, Target]
    find: FindTrunk = find_trunk

    @property
    def path(self) -> Path:
        """Where the file stands."""
        return self.archive.path

    @property
    def identity(self) -> str:
        """SHA-256 in hexadecimal that stands for all of the content."""
        return self.archive.identity

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self.archive.manifest

    @property
    def borrowed(self) -> tuple[Path, ...]:
        """Return what stands beside the file and it takes weights from: the folder of its base, where there is one."""
        if (base := self.manifest.base) is None:
            return ()
        beside = self.path.parent / base.name
        return (beside,) if beside.name == base.name and beside.is_dir() else ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of `graph`."""
        others = {scores_name(name) for name in self.manifest.targets if name not in self.targets}
        return tuple(name for name in self.manifest.outputs if name not in others)

    @property
    def _is_whole(self) -> bool:
        return len(self.targets) == len(self.manifest.targets)

    def only(self, names: Collection[str]) -> Bundle:
        """Return the same file with these targets alone, in the order of the fit.

        Raises
        ------
        UsageError
            It has no target of such a name, or none is given.
        """
        there = ", ".join(self.targets)
        if unknown := [name for name in names if name not in self.targets]:
            raise UsageError(
                f"{self.path} has no target {unknown[0]!r}; it has {there}.",
                next_step="Give one of these names.",
            )
        if not names:
            raise UsageError(f"No target is to be kept of {self.path}.", next_step=f"Name one of {there}.")
        return replace(self, targets={name: one for name, one in self.targets.items() if name in names})

    def graph(self) -> Graph:
        """Return the network, completed from its base where the bundle does not hold that.

        Raises
        ------
        WeightsError
            The base cannot be had, or is another one than the bundle was made on.
        """
        with naming(self.path):
            weights = decode_arrays(self.archive.read(WEIGHTS), WEIGHTS)
            graph = Graph(self.archive.read(TOPOLOGY), weights, self.manifest.outputs)
            if (base := self.manifest.base) is not None:
                graph = self._completed(graph, base)
            check_graph(graph)
            return graph if self._is_whole else trim(graph, tuple(self.targets))

    def apart(self) -> tuple[Graph, Mapping[str, LowRank]] | None:
        """Return its base as a network, and what it adds to that; None where it holds more than an adapter.

        Raises
        ------
        WeightsError
            The base cannot be had, or is another one than the bundle was made on.
        """
        base = self.manifest.base
        if base is None:
            return None
        with naming(self.path):
            stored = Graph(self.archive.read(TOPOLOGY), {}, self.manifest.outputs)
            if decode_arrays(self.archive.read(WEIGHTS), WEIGHTS):
                return None
            graph = complete(stored, {}, base, self._base_trunk(base))
            check_graph(graph)
            return graph, products_of(decode_arrays(self.archive.read(ADAPTER), ADAPTER))

    def _base_trunk(self, base: Base) -> Trunk | LanguageModel:
        writes = self.manifest.modality == WRITING and self.find is find_trunk
        return trunk_for(base, self.path.parent, find_writer if writes else self.find)

    def _completed(self, graph: Graph, base: Base) -> Graph:
        adapter = decode_arrays(self.archive.read(ADAPTER), ADAPTER)
        return complete(graph, adapter, base, self._base_trunk(base))

    def record(self) -> FitRecord:
        """Return the record of the fit."""
        with naming(self.path):
            record = record_from_json(decode_object(self.archive.read(RECORD), RECORD))
        return record if self._is_whole else _record_of(record, self.targets)

    def examples(self) -> tuple[Array, ...]:
        """Return the tensors of training inputs that it keeps; none where it keeps none."""
        if EXAMPLES not in self.manifest.parts:
            return ()
        with naming(self.path):
            stored = decode_arrays(self.archive.read(EXAMPLES), EXAMPLES)
        return tuple(stored[name] for name in sorted(stored))

    def statistics(self) -> Mapping[str, Array]:
        """Return what is known of the training data."""
        with naming(self.path):
            return decode_arrays(self.archive.read(STATISTICS), STATISTICS)

    def sides(self) -> Mapping[str, Side]:
        """Return the side of each row of the data it was fitted on."""
        with naming(self.path):
            return _decode_sides(self.archive.read(SPLIT))

    def goldens(self) -> tuple[Golden, ...]:
        """Return the golden examples."""
        keys, outputs = self.manifest.goldens, self.outputs
        inputs = [(key, self.archive.read(golden_part(number))) for number, key in enumerate(keys)]
        with naming(self.path):
            return decode_goldens(self.archive.read(GOLDENS), inputs, outputs)


def require_answering(bundle: Bundle) -> None:
    """Refuse a bundle whose network writes texts, of which no target can be asked.

    Raises
    ------
    BundleError
        It is such a one.
    """
    if bundle.manifest.modality == WRITING:
        raise BundleError(
            f"{bundle.path} holds a language model, which goes on with texts and answers nothing.",
            next_step="`topwork generate` asks it, or topwork.writer in Python.",
        )


def save(path: Path, contents: Contents) -> str:
    """Write a bundle under ``path``, whole or not at all, and return its identity.

    Everything is read back before it is written, so that a long fit never ends in a file that does not open.

    Raises
    ------
    BundleError
        The contents do not make a bundle.
    StorageError
        The disk is full, read-only or not writable.
    """
    check_graph(contents.graph)
    parts = _parts(contents)
    manifest = _manifest(contents, parts)
    _check_readable(parts, manifest)
    return write_archive(path, parts, manifest)


def open_bundle(path: Path, restore: Restore | None = None, find: FindTrunk = find_trunk) -> Bundle:
    """Open a bundle after checking every byte of it.

    Parameters
    ----------
    path
        The file.
    restore
        Makes the targets; by default the installed tasks do.
    find
        Finds the trunk that a bundle takes weights from; by default among those known here and beside the bundle.

    Raises
    ------
    BundleError
        It is no bundle, damaged, tampered with or too new, or a target cannot be restored.
    UsageError
        There is no such file.
    StorageError
        It cannot be read.
    """
    archive = Archive.open(path)
    with naming(path):
        return Bundle(archive, _restore_all(archive.manifest, restore or restore_target), find)


def restore_target(task: str, state: Mapping[str, Json]) -> Target:
    """Make a target through the installed task of that name."""
    from topwork import plugins

    return plugins.task(task).restore(state)


# --- writing ------------------------------------------------------------------------------------------


def _parts(contents: Contents) -> dict[str, bytes]:
    card, omitted = render_card(contents.name, contents.record), contents.omitted
    return {
        WEIGHTS: encode_arrays(omitted.kept(contents.graph) if omitted else contents.graph.weights),
        TOPOLOGY: contents.graph.topology,
        RECORD: encode_json(record_to_json(contents.record)),
        SPLIT: _encode_sides(contents.sides),
        STATISTICS: encode_arrays(contents.statistics),
        GOLDENS: encode_goldens(contents.goldens),
        CARD: card.encode("utf-8", errors="backslashreplace"),
        **({} if omitted is None else {ADAPTER: encode_arrays(omitted.adapter())}),
        **(_examples_part(contents.examples) if contents.examples else {}),
        **{golden_part(number): golden.encoded for number, golden in enumerate(contents.goldens)},
    }


def _examples_part(examples: Sequence[Array]) -> dict[str, bytes]:
    return {EXAMPLES: encode_arrays({f"{number:05d}": one for number, one in enumerate(examples)})}


def _manifest(contents: Contents, parts: Mapping[str, bytes]) -> Manifest:
    targets = {name: StoredTarget(target.task, target.state()) for name, target in contents.targets.items()}
    is_new = bool(contents.examples) or contents.optimized is not None
    return Manifest(
        format=format_of(has_base=contents.omitted is not None, is_new=is_new),
        topwork=contents.record.topwork,
        name=contents.name,
        created=contents.record.created,
        modality=contents.preprocessing.modality,
        preprocessing=contents.preprocessing.to_json(),
        trunk=contents.trunk,
        targets=targets,
        outputs=contents.graph.output_names,
        goldens=tuple(golden.key for golden in contents.goldens),
        parts=describe_parts(parts),
        base=None if contents.omitted is None else contents.omitted.base(contents.graph),
        optimized=contents.optimized,
    )


def _check_readable(parts: Mapping[str, bytes], manifest: Manifest) -> None:
    decode_manifest(encode_manifest(manifest))
    record_from_json(decode_object(parts[RECORD], RECORD))
    inputs = [(key, parts[golden_part(number)]) for number, key in enumerate(manifest.goldens)]
    decode_goldens(parts[GOLDENS], inputs, manifest.outputs)


def _encode_sides(sides: Mapping[str, Side]) -> bytes:
    """Write the keys of each side: half as long as a side after every key."""
    return encode_json({side: [key for key, at in sides.items() if at == side] for side in get_args(Side)})


# --- reading ------------------------------------------------------------------------------------------


def _decode_sides(data: bytes) -> dict[str, Side]:
    stored = decode_object(data, SPLIT)
    if set(stored) != set(get_args(Side)) or not all(_is_texts(keys) for keys in stored.values()):
        raise BundleError(f"{SPLIT} should hold three lists of keys: {', '.join(get_args(Side))}.")
    sides = {key: cast("Side", side) for side, keys in stored.items() for key in keys}
    if len(sides) != sum(map(len, stored.values())):
        raise BundleError(f"{SPLIT} names a key twice.")
    return sides


def _record_of(record: FitRecord, names: Collection[str]) -> FitRecord:
    """Return what a record tells of some targets alone, and of the whole run."""
    counts = {name: one for name, one in record.data.class_counts.items() if name in names}
    return replace(
        record,
        targets={name: one for name, one in record.targets.items() if name in names},
        data=replace(record.data, class_counts=counts),
    )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _restore_all(manifest: Manifest, restore: Restore) -> dict[str, Target]:
    return {name: _restore_one(name, stored, restore) for name, stored in manifest.targets.items()}


def _restore_one(name: str, stored: StoredTarget, restore: Restore) -> Target:
    try:
        return restore(stored.task, stored.state)
    except TopworkError as error:
        raise BundleError(
            f"The target {name!r} of task {stored.task!r} cannot be restored: {error.problem}",
            next_step=error.next_step,
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise BundleError(
            f"The state of target {name!r} is not one of task {stored.task!r}: {error}."
        ) from error
