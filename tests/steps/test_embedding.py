"""A network without a head as a servable: the right features, in order, proven, described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_servable import with_client
from tiny_text_trunk import write_tiny_text_trunk
from tiny_trunk import N_FEATURES
from topwork import Model, Surroundings, plugins
from topwork.contracts import Allowance, Array, Engine, Modality, Preprocessing, Servable, Trunk
from topwork.errors import ProofError, UsageError
from topwork.inputs import IMAGE, modality
from topwork.steps.embedding import Embedder, TrunkNetwork, open_embedder, unit_length
from topwork.steps.transfer import exportable_of
from topwork.trunks import resolve


@pytest.fixture(scope="module")
def tiny(tiny_trunk: Path, around: Surroundings) -> Embedder:
    return open_embedder(str(tiny_trunk), around)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_text_trunk(tmp_path_factory.mktemp("texts") / "tiny-words")


def vectors_of(embedder: Embedder, *inputs: bytes) -> Array:
    answers = list(embedder.submit(inputs))
    assert [one.index for one in answers] == list(range(len(inputs)))
    return np.array([one.value["embedding"] for one in answers if one.value is not None], np.float32)


def by_torch(name: Path, inputs: tuple[bytes, ...], around: Surroundings) -> Array:
    """Compute the features with the module itself, one input at a time."""
    import torch

    trunk: Trunk = resolve(str(name), plugins.trunks())
    kind = modality(trunk.card.modality)
    module = exportable_of(trunk, kind, trunk.fetch(around.cache_dir, around.progress)).module
    tensors = [kind.decode(one, trunk.preprocessing).tensor[None] for one in inputs]
    with torch.inference_mode():
        return np.concatenate([module(torch.from_numpy(one)).numpy() for one in tensors])


# --- what it gives --------------------------------------------------------------------------------------


def test_photos_get_the_features_of_the_network(
    tiny: Embedder, tiny_trunk: Path, around: Surroundings
) -> None:
    assert isinstance(tiny, Servable)
    tiny.prove()
    exact = open_embedder(str(tiny_trunk), replace(around, engine="onnxruntime"))
    exact.prove()
    inputs = IMAGE.synthetic(11, 3)  # more than one batch
    found = vectors_of(exact, *inputs)
    np.testing.assert_allclose(vectors_of(tiny, *inputs), found, atol=0.03)  # may be in bf16
    assert found.shape == (11, N_FEATURES)
    np.testing.assert_allclose(found, by_torch(tiny_trunk, inputs, around), rtol=1e-4, atol=1e-5)


def test_texts_of_several_lengths_get_theirs(texts: Path, around: Surroundings) -> None:
    embedder = open_embedder(str(texts), replace(around, engine="onnxruntime"))
    embedder.prove()
    inputs = (b"one", b"a much longer text " * 20, b"two words", b"x")
    found = vectors_of(embedder, *inputs)
    np.testing.assert_allclose(found, by_torch(texts, inputs, around), rtol=1e-4, atol=1e-5)


def test_texts_are_told_how_many_tokens_they_had(texts: Path, around: Surroundings) -> None:
    embedder = open_embedder(str(texts), around)
    inputs = (b"one", b"a much longer text " * 20, b"one one")
    preprocessing = embedder.network.preprocessing
    facts = [embedder.network.modality.decode(one, preprocessing).facts["tokens"] for one in inputs]
    together = [one.value["tokens"] for one in embedder.submit(inputs) if one.value]
    assert together == facts
    assert facts[0] < facts[2] < facts[1]
    [alone] = embedder.compute([embedder.prepare(inputs[1])], intake=None)  # type: ignore[arg-type]
    assert alone.value is not None
    assert alone.value["tokens"] == facts[1]
    assert embedder.answer_schema["required"] == ["embedding", "tokens"]


def test_vectors_are_passed_on(around: Surroundings) -> None:
    embedder = open_embedder("identity/3", around)
    embedder.prove()
    assert vectors_of(embedder, b"[1, 2.5, -3]").tolist() == [[1, 2.5, -3]]
    [wrong] = embedder.submit([b"[1, 2]"])
    assert wrong.problem is not None
    assert "2 numbers; expected 3" in wrong.problem


def test_the_network_of_a_bundle_gives_what_its_trunk_gave(
    fitted: Model, tiny: Embedder, around: Surroundings
) -> None:
    embedder = open_embedder(str(fitted.path), around)
    embedder.prove()
    inputs = IMAGE.synthetic(3, 5)
    np.testing.assert_allclose(vectors_of(embedder, *inputs), vectors_of(tiny, *inputs), atol=1e-5)
    assert embedder.name == "colours"
    assert "targets" not in embedder.about


def test_a_bad_input_costs_itself_alone(tiny: Embedder) -> None:
    first, last = IMAGE.synthetic(2, 1)
    answers = list(tiny.submit([first, b"no photo", last]))
    assert [one.problem is None for one in answers] == [True, False, True]
    alone = vectors_of(tiny, first, last)
    told = np.array([one.value["embedding"] for one in answers if one.value], np.float32)
    np.testing.assert_allclose(told, alone, atol=1e-5)


def test_vectors_can_be_brought_to_length_one(tiny: Embedder, tiny_trunk: Path, around: Surroundings) -> None:
    inputs = IMAGE.synthetic(3, 2)
    plain, unit = (
        vectors_of(tiny, *inputs),
        vectors_of(open_embedder(str(tiny_trunk), around, normalized=True), *inputs),
    )
    assert np.abs(np.linalg.norm(plain, axis=1) - 1).min() > 0.01
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(plain, axis=1, keepdims=True), plain, atol=1e-5)


def test_nothing_has_no_direction() -> None:
    found = unit_length(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(found, np.array([[0.6, 0.8], [0.0, 0.0]]), atol=1e-7)
    assert found.dtype == np.float32


# --- over HTTP ------------------------------------------------------------------------------------------


def test_it_is_served_like_any_model(tiny: Embedder) -> None:
    [content] = IMAGE.synthetic(1, 1)
    response = with_client(tiny, lambda one: one.post("/predict", content=content))
    assert response.status_code == 200
    [found] = response.json()["predictions"]
    np.testing.assert_allclose(np.array(found["embedding"]), vectors_of(tiny, content)[0], atol=1e-5)
    about = with_client(tiny, lambda one: one.get(f"/v1/models/{tiny.name}")).json()
    assert about["explanation_schema"] is None
    assert (about["about"]["n_features"], about["about"]["normalized"]) == (N_FEATURES, False)
    assert about["about"]["trunk"]["licence"] == "apache-2.0"
    described = with_client(tiny, lambda one: one.get("/openapi.json")).json()
    schema = described["components"]["schemas"][f"Answer.{tiny.name}"]
    assert schema == about["answer_schema"]
    vector = schema["properties"]["embedding"]
    assert vector["minItems"] == vector["maxItems"] == N_FEATURES
    assert vector["description"] == "32 features of tiny; as the network gives them, of any length."


def test_what_was_normalized_says_so(around: Surroundings) -> None:
    embedder = open_embedder("identity/3", around, normalized=True)
    assert "its length is 1 (L2)" in str(embedder.answer_schema)
    assert embedder.about["normalized"] is True


# --- proof ----------------------------------------------------------------------------------------------


@dataclass
class Disturbed:
    """An engine in a number format of one's choice whose features are off by about so much."""

    inner: Engine
    off: float
    precision: str = "fp32"
    name: str = "disturbed"
    version: str = "1"
    n_streams: int = 1

    def run(self, batch: Array) -> Mapping[str, Array]:
        noise = np.random.default_rng(0)
        found = self.inner.run(batch)
        return {
            key: one + self.off * noise.uniform(0.5, 1.5, one.shape).astype(np.float32)
            for key, one in found.items()
        }


def test_a_network_that_computes_wrongly_is_not_proven(tiny_trunk: Path, around: Surroundings) -> None:
    network = network_of(tiny_trunk, around)
    network.engine = Disturbed(network.engine, 0.1)  # type: ignore[assignment]  # a precision is a word
    with pytest.raises(ProofError, match="no longer answers"):
        Embedder(network, N_FEATURES).prove()


def test_a_short_number_format_that_does_not_do_is_left(tiny_trunk: Path, around: Surroundings) -> None:
    network = network_of(tiny_trunk, around)
    network.engine = Disturbed(network.engine, 3.0, precision="bf16")  # type: ignore[assignment]
    network.prove()
    assert network.engine.precision == "fp32"
    assert network.about["engine"]["name"] != "disturbed"  # type: ignore[index,call-overload]
    rough = network_of(tiny_trunk, around)
    rough.engine = Disturbed(rough.engine, 0.01, precision="bf16")  # type: ignore[assignment]
    rough.prove()
    assert rough.engine.name == "disturbed"


def test_a_card_that_is_wrong_is_not_proven(tiny_trunk: Path, around: Surroundings) -> None:
    trunk: Any = resolve(str(tiny_trunk), plugins.trunks())
    lying = replace(trunk, card=replace(trunk.card, n_features=7))
    with pytest.raises(ProofError, match=r"gives \[32\] features; its card says 7"):
        TrunkNetwork(lying, around).prove()


def network_of(tiny_trunk: Path, around: Surroundings) -> TrunkNetwork:
    return TrunkNetwork(resolve(str(tiny_trunk), plugins.trunks()), around)


@dataclass
class Infinite:
    """A network whose features are not finite."""

    engine: Engine
    modality: Modality
    preprocessing: Preprocessing
    name: str = "infinite"
    about: Mapping[str, str] = field(default_factory=dict)

    def prove(self) -> None:
        return

    def decode_within(self, allowance: Allowance) -> None:
        return


def test_what_is_no_number_is_no_answer(tiny_trunk: Path, around: Surroundings) -> None:
    network = network_of(tiny_trunk, around)
    broken = Infinite(Disturbed(network.engine, float("inf")), network.modality, network.preprocessing)  # type: ignore[arg-type]
    [answer] = Embedder(broken, N_FEATURES).submit(IMAGE.synthetic(1, 1))
    assert answer.problem == "The network gave no finite number for this input."


# --- what cannot be opened ------------------------------------------------------------------------------


def test_a_trunk_without_a_length_is_refused(around: Surroundings) -> None:
    with pytest.raises(UsageError) as caught:
        open_embedder("identity", around)
    assert "identity/384" in caught.value.next_step


def test_a_name_that_means_nothing_is_refused(around: Surroundings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trunk named 'resnet'"):
        open_embedder("resnet", around)
    with pytest.raises(UsageError, match=r"none\.topwork"):
        open_embedder(str(tmp_path / "none.topwork"), around)
