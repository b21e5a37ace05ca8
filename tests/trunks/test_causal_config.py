"""Language models in folders and of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tiny_writers import GPT2, LLAMA, byte_tokenizer, tiny_writer, write_tiny_writer
from topwork import plugins
from topwork.errors import UsageError, WeightsError
from topwork.progress import Quiet
from topwork.trunks import DEFAULT_WRITER, resolve_writer
from topwork.trunks.causal import count


def test_a_folder_of_transformers_is_a_language_model(tmp_path: Path) -> None:
    model = resolve_writer(str(write_tiny_writer(tmp_path / "tiny")), {})
    assert (model.card.name, model.card.offers, model.card.input_size) == (
        "tiny",
        frozenset({"writes"}),
        (512,),
    )
    assert model.card.n_parameters == sum(p.numel() for p in tiny_writer(LLAMA).parameters())
    weights = model.fetch(tmp_path, Quiet())
    assert model.graph(weights) is None
    tokens = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        assert torch.allclose(
            model.load(weights)(tokens).logits, tiny_writer(LLAMA)(tokens).logits, atol=1e-5
        )


def test_its_files_say_where_texts_begin_and_end(tmp_path: Path) -> None:
    config = {**GPT2, "bos_token_id": 5, "eos_token_id": [0, 7]}
    folder = write_tiny_writer(
        tmp_path / "tiny",
        config,
        **{
            "tokenizer_config.json": json.dumps({"add_bos_token": True, "chat_template": "old"}),
            "generation_config.json": json.dumps({"eos_token_id": [7, 9]}),
            "chat_template.jinja": "{{ messages[0].content }}",
        },
    )
    vocabulary = resolve_writer(str(folder), {}).vocabulary()
    assert (vocabulary.begin, vocabulary.ends, vocabulary.window) == (5, (0, 7, 9), 512)
    assert vocabulary.chat_template == "{{ messages[0].content }}"
    assert vocabulary.tokenizer == byte_tokenizer()


def test_a_folder_without_a_tokeniser_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_writer(tmp_path / "tiny")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"there is no tokenizer\.json"):
        resolve_writer(str(folder), {})


def test_a_config_of_another_library_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_writer(tmp_path / "tiny")
    (folder / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(WeightsError, match='has no "model_type"'):
        resolve_writer(str(folder), {})


def test_a_name_that_means_nothing_is_refused_with_what_is_like_it() -> None:
    with pytest.raises(UsageError, match="no language model named 'smollm'") as caught:
        resolve_writer("smollm", plugins.writers())
    assert "Did you mean smollm2-135m?" in str(caught.value.next_step)


def test_the_default_is_in_the_catalogue_and_knows_its_tokens() -> None:
    model = resolve_writer(DEFAULT_WRITER, plugins.writers())
    vocabulary = model.vocabulary()
    assert len(vocabulary) == 49152
    text = 'In 1234 he said:\n\n  "Hi!" déjà 😀'
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert [vocabulary.decode([one]) for one in vocabulary.encode("1234")] == ["1", "2", "3", "4"]
    assert vocabulary.encode("<|im_end|><|endoftext|>") == list(vocabulary.ends)
    assert "<|im_start|>" in vocabulary.chat_template


def test_the_default_has_as_many_parameters_as_its_card_says() -> None:
    model = resolve_writer(DEFAULT_WRITER, plugins.writers())
    assert model.card.n_parameters == count(model.config)  # type: ignore[attr-defined]
