"""Golden examples: what may differ, what may not, and who is to blame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pytest

from tiny_bundle import (
    N_FEATURES,
    NumpyEngine,
    TinyModality,
    TinyPreprocessing,
    disturbed,
    tiny_contents,
    tiny_graph,
)
from topwork.bundle.goldens import (
    MAX_LEVELS,
    TOLERANCE,
    Golden,
    decode_goldens,
    encode_goldens,
    make_goldens,
    replay,
)
from topwork.bundle.tensors import encode_arrays
from topwork.contracts import Array, Engine, Precision
from topwork.errors import BundleError, DecodeError, ProofError, UsageError

OUTPUTS = ("features", "scores.label")


@pytest.fixture
def goldens() -> tuple[Golden, ...]:
    return tiny_contents().goldens


def engine(precision: Precision = "fp32") -> NumpyEngine:
    return NumpyEngine(tiny_graph().weights, precision)


def play(goldens: tuple[Golden, ...], runner: Engine, offset: int = 0) -> None:
    replay(goldens, TinyModality(), TinyPreprocessing(offset), runner)


@dataclass(slots=True)
class Warped:
    """An engine whose outputs are changed on the way out."""

    inner: NumpyEngine
    factor: float = 1.0
    noise: float = 0.0
    shift: float = 0.0
    only_batches: bool = False
    name: str = "warped"
    version: str = "1"
    n_streams: int = 1

    @property
    def precision(self) -> Precision:
        return self.inner.precision

    def run(self, batch: Array) -> Mapping[str, Array]:
        outputs = self.inner.run(batch)
        if self.only_batches and len(batch) == 1:
            return outputs
        rng = np.random.default_rng(0)
        return {
            name: value * np.float32(self.factor)
            + np.float32(self.shift)
            + np.float32(self.noise) * rng.standard_normal(value.shape, np.float32)
            for name, value in outputs.items()
        }


# --- making ---------------------------------------------------------------------------------------------


def test_goldens_hold_inputs_tensors_and_outputs(goldens: tuple[Golden, ...]) -> None:
    assert [golden.key for golden in goldens] == ["0.grid", "1.grid", "2.grid", "3.grid"]
    first = goldens[0]
    assert first.tensor.shape == (4, 4, 3)
    assert first.tensor.tobytes() == first.encoded
    assert {name: value.shape for name, value in first.outputs.items()} == {
        "features": (N_FEATURES,),
        "scores.label": (3,),
    }


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_goldens_are_made_in_fp32(precision: Precision) -> None:
    inputs = [(str(i), encoded) for i, encoded in enumerate(TinyModality().synthetic(2, 0))]
    with pytest.raises(UsageError, match=f"computes in {precision}"):
        make_goldens(inputs, TinyModality(), TinyPreprocessing(), engine(precision))


def test_one_golden_is_not_enough() -> None:
    with pytest.raises(UsageError, match="2 or more"):
        make_goldens([("a", bytes(48))], TinyModality(), TinyPreprocessing(), engine())


def test_an_input_that_cannot_be_read_makes_no_golden() -> None:
    with pytest.raises(DecodeError):
        make_goldens([("a", bytes(48)), ("b", b"")], TinyModality(), TinyPreprocessing(), engine())


# --- replaying ------------------------------------------------------------------------------------------


def test_there_is_a_tolerance_for_each_precision() -> None:
    assert set(TOLERANCE) == set(get_args(Precision))
    assert sorted(TOLERANCE.values()) == [TOLERANCE[p] for p in ("fp32", "fp16", "bf16", "int8")]


def test_the_same_network_passes(goldens: tuple[Golden, ...]) -> None:
    play(goldens, engine())


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_the_tolerance_is_that_of_the_precision(goldens: tuple[Golden, ...], precision: Precision) -> None:
    scale = float(np.std([golden.outputs["features"] for golden in goldens]))
    play(goldens, Warped(engine(precision), noise=0.3 * TOLERANCE[precision] * scale))
    with pytest.raises(ProofError, match=precision):
        play(goldens, Warped(engine(precision), noise=5 * TOLERANCE[precision] * scale))


@pytest.mark.parametrize("name", sorted(tiny_graph().weights))
def test_a_disturbed_layer_is_refused(goldens: tuple[Golden, ...], name: str) -> None:
    scaled = NumpyEngine(disturbed(tiny_graph(), name, factor=1.02).weights)
    with pytest.raises(ProofError, match="no longer answers as it did"):
        play(goldens, scaled)
    shifted = NumpyEngine(disturbed(tiny_graph(), name, shift=0.05).weights)
    with pytest.raises(ProofError, match="no longer answers as it did"):
        play(goldens, shifted)


def test_an_engine_that_is_wrong_for_batches_only_is_refused(goldens: tuple[Golden, ...]) -> None:
    with pytest.raises(ProofError):
        play(goldens, Warped(engine(), factor=1.1, only_batches=True))


def test_the_message_names_example_output_difference_and_tolerance(goldens: tuple[Golden, ...]) -> None:
    with pytest.raises(ProofError) as caught:
        play(goldens, Warped(engine(), factor=1.5))
    for words in ("'0.grid'", "'features'", "warped in fp32 may be off by 0.001", "decoded as before"):
        assert words in str(caught.value)


def test_answers_that_are_no_numbers_are_refused(goldens: tuple[Golden, ...]) -> None:
    with pytest.raises(ProofError, match="nan"):
        play(goldens, Warped(engine(), factor=float("nan")))


def test_a_common_offset_does_not_soften_the_tolerance(goldens: tuple[Golden, ...]) -> None:
    """Of outputs around 1000, what counts is how they vary."""
    lifted = tuple(
        replace(golden, outputs={name: value + np.float32(1000) for name, value in golden.outputs.items()})
        for golden in goldens
    )
    play(lifted, Warped(engine(), shift=1000))
    with pytest.raises(ProofError, match="'features'"):
        play(lifted, Warped(engine(), shift=1000, noise=0.05))


def test_a_missing_output_and_one_of_another_shape_are_refused(goldens: tuple[Golden, ...]) -> None:
    with pytest.raises(ProofError, match=r"no output 'scores\.label'"):
        play(goldens, NumpyEngine({k: v for k, v in tiny_graph().weights.items() if "heads" not in k}))
    narrow = {**tiny_graph().weights, "heads.label.weight": np.ones((2, 8), np.float32)}
    narrow["heads.label.bias"] = np.ones(2, np.float32)
    with pytest.raises(ProofError, match=r"float32 \[2\]; float32 \[3\] was expected"):
        play(goldens, NumpyEngine(narrow))


def test_examples_that_are_all_alike_still_prove_something() -> None:
    inputs = [("a", bytes(48)), ("b", bytes(48))]
    alike = make_goldens(inputs, TinyModality(), TinyPreprocessing(), engine())
    play(alike, engine())
    with pytest.raises(ProofError):
        play(alike, Warped(engine(), factor=1.01))


# --- the decoder ------------------------------------------------------------------------------------------


def test_a_rounding_of_one_level_here_and_there_passes(goldens: tuple[Golden, ...]) -> None:
    tensor = goldens[0].tensor.copy()
    tensor.flat[:5] += 1
    play((replace(goldens[0], tensor=tensor), *goldens[1:]), engine_for(goldens, tensor))


def engine_for(goldens: tuple[Golden, ...], tensor: Array) -> Engine:
    """Return an engine that answers for a changed tensor as for the original, so that only decoding is compared."""

    @dataclass(slots=True)
    class Forgiving(NumpyEngine):
        def run(self, batch: Array) -> Mapping[str, Array]:
            same = [goldens[0].tensor if np.array_equal(item, tensor) else item for item in batch]
            return NumpyEngine.run(self, np.stack(same))

    return Forgiving(tiny_graph().weights)


def test_a_decoder_that_shifts_everything_is_blamed_rather_than_the_network(
    goldens: tuple[Golden, ...],
) -> None:
    with pytest.raises(ProofError) as caught:
        play(goldens, engine(), offset=2)
    assert "decodes to other values: off by 2 levels on average" in str(caught.value)
    assert "The network was not asked" in str(caught.value)


def test_one_pixel_that_is_far_off_is_refused(goldens: tuple[Golden, ...]) -> None:
    tensor = goldens[0].tensor.copy()
    tensor.flat[0] = (int(tensor.flat[0]) + MAX_LEVELS + 1) % 256
    with pytest.raises(ProofError, match="at worst"):
        play((replace(goldens[0], tensor=tensor), *goldens[1:]), engine())


def test_another_shape_and_an_unreadable_input_are_refused(goldens: tuple[Golden, ...]) -> None:
    with pytest.raises(ProofError, match=r"decodes to uint8 \[4, 4, 3\]; uint8 \[4, 4\] was expected"):
        play((replace(goldens[0], tensor=goldens[0].tensor[..., 0]), *goldens[1:]), engine())
    with pytest.raises(ProofError, match="cannot be read any more"):
        play((replace(goldens[0], encoded=b""), *goldens[1:]), engine())


@pytest.mark.parametrize(
    ("dtype", "change", "passes"),
    [(np.int64, 0, True), (np.int64, 1, False), (np.float32, 1e-5, True), (np.float32, 1.0, False)],
)
def test_numbers_of_words_must_be_equal_and_floats_near(dtype: type, change: float, *, passes: bool) -> None:
    from topwork.bundle.goldens import _tensor_difference

    stored: Array = np.arange(12).astype(dtype)
    assert (_tensor_difference(stored, stored + dtype(change)) == "") is passes


# --- as parts -------------------------------------------------------------------------------------------


def test_goldens_survive_the_round_trip(goldens: tuple[Golden, ...]) -> None:
    inputs = [(golden.key, golden.encoded) for golden in goldens]
    again = decode_goldens(encode_goldens(goldens), inputs, OUTPUTS)
    assert [(g.key, g.encoded) for g in again] == inputs
    for old, new in zip(goldens, again, strict=True):
        np.testing.assert_array_equal(new.tensor, old.tensor)
        assert new.tensor.dtype == old.tensor.dtype
        for name in OUTPUTS:
            np.testing.assert_array_equal(new.outputs[name], old.outputs[name])


def test_stored_goldens_that_prove_nothing_are_refused(goldens: tuple[Golden, ...]) -> None:
    data = encode_goldens(goldens)
    inputs = [(golden.key, golden.encoded) for golden in goldens]
    with pytest.raises(BundleError, match="holds 1 golden examples"):
        decode_goldens(data, inputs[:1], OUTPUTS)
    with pytest.raises(BundleError, match=r"lacks the array '004\.tensor'"):
        decode_goldens(data, [*inputs, ("more", b"")], OUTPUTS)
    with pytest.raises(BundleError, match="lacks the array"):
        decode_goldens(data, inputs, ("other",))


@pytest.mark.parametrize("output", [np.zeros(3), np.full(3, np.nan, np.float32), np.zeros(3, bool)])
def test_stored_outputs_of_another_sort_are_refused(output: Array) -> None:
    arrays = {
        f"00{i}.{what}": v for i in (0, 1) for what, v in (("tensor", np.zeros(3)), ("output.o", output))
    }
    with pytest.raises(BundleError, match="finite float32 was expected"):
        decode_goldens(encode_arrays(arrays), [("a", b""), ("b", b"")], ("o",))
