"""The token for hidden words, and those that are none, out of a tokeniser's own file."""

from __future__ import annotations

import json

from tokenizers import Tokenizer

from topwork.inputs.text_masking import masking_of
from toy_texts import SPECIAL, toy_tokenizer


def with_mask() -> Tokenizer:
    tokenizer = Tokenizer.from_str(toy_tokenizer(290))
    tokenizer.add_special_tokens(["[MASK]"])
    return tokenizer


def test_mask_and_special_tokens_are_found() -> None:
    tokenizer = with_mask()
    found = masking_of(tokenizer.to_str())
    assert found is not None
    assert found.mask == tokenizer.token_to_id("[MASK]")
    assert set(found.special) == {tokenizer.token_to_id(one) for one in ("[MASK]", *SPECIAL)}


def test_tokens_around_a_text_are_found_in_the_ways_of_bert_and_roberta() -> None:
    content = json.loads(with_mask().to_str())
    for kind in ("BertProcessing", "RobertaProcessing"):
        content["post_processor"] = {"type": kind, "sep": ["x", 17], "cls": ["y", 18]}
        found = masking_of(json.dumps(content))
        assert found is not None
        assert {17, 18} < set(found.special)
    content["post_processor"] = {"type": "Sequence", "processors": [content["post_processor"]]}
    assert masking_of(json.dumps(content)) == found


def test_without_a_mask_or_a_tokeniser_there_is_nothing() -> None:
    assert masking_of(toy_tokenizer()) is None
    for content in ("words", "[]", "{}", '{"added_tokens": 3}'):
        assert masking_of(content) is None
