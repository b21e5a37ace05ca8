"""`export_writer`: a language model as a folder of transformers, proven to say the golden texts as the bundle does."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from topwork.bundle.contents import Bundle, open_bundle
from topwork.bundle.goldens import Golden
from topwork.bundle.writing import vocabulary_of
from topwork.contracts import Array, Json
from topwork.errors import BundleError, ProofError, UsageError
from topwork.inputs.vocabulary import WRITING, Vocabulary
from topwork.storage import explain
from topwork.trunks.encoders import transformers_library

__all__ = ["WriterExport", "export_writer", "hand_on", "writes_texts"]

_MOST_OFF: Final = 1e-3
"""Nats, root mean square over a golden text, in fp32."""
_WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True, slots=True)
class WriterExport:
    """A folder that `export_writer` wrote.

    Attributes
    ----------
    path, files, n_bytes
        Where it is, what is in it, and how much that is.
    n_goldens
        Golden texts that were said again in transformers.
    largest_difference, allowed
        The largest and the most that may be, root mean square of a text's log probabilities, in nats.
    """

    path: Path
    files: tuple[str, ...]
    n_bytes: int
    n_goldens: int
    largest_difference: float
    allowed: float
    runtime: str


def writes_texts(bundle: Path) -> bool:
    """Tell whether a file is a bundle that holds a language model; one that is no bundle at all does not."""
    return bundle.is_file() and open_bundle(bundle).manifest.modality == WRITING


def export_writer(bundle: str | Path, out: str | Path) -> WriterExport:
    """Write the language model of a bundle as a folder for transformers' ``from_pretrained``; see `hand_on`."""
    return hand_on(open_bundle(Path(bundle)), Path(out))


def hand_on(bundle: Bundle, out: Path) -> WriterExport:
    """Write what a bundle writes with as a folder for ``AutoModelForCausalLM.from_pretrained``, whole or not at all.

    Raises
    ------
    UsageError
        Something is there already.
    BundleError
        The bundle does not say which network it holds.
    ProofError
        transformers says the golden texts with other probabilities; nothing is written.
    StorageError
        It cannot be written.
    """
    vocabulary = vocabulary_of(bundle)
    if not vocabulary.config:
        raise BundleError(
            f"{bundle.path} does not say by which settings transformers builds its network.",
            next_step="Fit it again with this version of topwork.",
        )
    if out.exists():
        raise UsageError(f"{out} is there already.", next_step="Give another folder, or take that one away.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as place:
            folder = Path(place) / out.name
            folder.mkdir()
            _write(bundle, vocabulary, folder)
            off = _proven(bundle, folder)
            shutil.move(folder, out)
    except OSError as error:
        raise explain(error, out) from error
    written = sorted(out.iterdir())
    return WriterExport(
        path=out,
        files=tuple(one.name for one in written),
        n_bytes=sum(one.stat().st_size for one in written),
        n_goldens=len(bundle.goldens()),
        largest_difference=off,
        allowed=_MOST_OFF,
        runtime=f"transformers {transformers_library().__version__}",
    )


def _write(bundle: Bundle, vocabulary: Vocabulary, folder: Path) -> None:
    from safetensors.numpy import save_file

    config: dict[str, Any] = json.loads(vocabulary.config)
    network = _network(config)
    known = network.state_dict().keys()  # what the graph has besides belongs to no layer
    tensors = {
        name: np.ascontiguousarray(one) for name, one in bundle.graph().weights.items() if name in known
    }
    save_file(tensors, folder / _WEIGHTS, {"format": "pt"})
    told = {**config, "architectures": [type(network).__name__], "dtype": "float32"}
    for name, content in _companions(vocabulary, told).items():
        (folder / name).write_text(content, encoding="utf-8")


def _network(config: Mapping[str, Any]) -> Any:
    """Build the network without any memory for its weights."""
    import torch

    from topwork.trunks.causal import build

    with torch.device("meta"):
        return build(config)


def _companions(vocabulary: Vocabulary, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the files beside the weights."""
    sampling = vocabulary.sampling
    draws: dict[str, Json] = {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or 1.0,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "repetition_penalty": sampling.repetition_penalty,
        **({"eos_token_id": list(vocabulary.ends)} if vocabulary.ends else {}),
        **({} if vocabulary.begin is None else {"bos_token_id": vocabulary.begin}),
    }
    tokens: dict[str, Json] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": vocabulary.window,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": vocabulary.begin is not None,
        **_words(vocabulary),
    }
    found = {"config.json": config, "tokenizer_config.json": tokens, "generation_config.json": draws}
    return {
        **{name: json.dumps(one, indent=2, sort_keys=True) + "\n" for name, one in found.items()},
        "tokenizer.json": vocabulary.tokenizer,
        **({"chat_template.jinja": vocabulary.chat_template} if vocabulary.chat_template else {}),
    }


def _words(vocabulary: Vocabulary) -> dict[str, Json]:
    """Return the words of the tokens that begin and end a text."""
    tokens = {"bos_token": vocabulary.begin, "eos_token": next(iter(vocabulary.ends), None)}
    return {name: vocabulary.decode([one], plain=False) for name, one in tokens.items() if one is not None}


def _proven(bundle: Bundle, folder: Path) -> float:
    """Say the golden texts in transformers, opened as anybody would; return by how much it is off."""
    transformers_library()
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    network.eval()
    off = max(_off(golden, network) for golden in bundle.goldens())
    if not off <= _MOST_OFF:
        raise ProofError(
            "transformers says the golden texts with other probabilities than the bundle did when it was fitted: "
            f"{off:.2g} nats off; {_MOST_OFF:g} is allowed. Nothing was written.",
            next_step="Try another version of transformers, and report this with the name of the model.",
        )
    return off


def _off(golden: Golden, network: Any) -> float:
    import torch

    tokens = torch.from_numpy(np.asarray(golden.tensor, np.int64))
    with torch.inference_mode():
        scores = network(tokens[None]).logits[0, :-1].double().log_softmax(-1)
    (expected,) = golden.outputs.values()
    found: Array = scores.gather(1, tokens[1:, None])[:, 0].numpy()
    return float(np.sqrt(np.mean((found - expected) ** 2)))
