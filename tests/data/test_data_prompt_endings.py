"""How prompts end, and what makes them end alike."""

from __future__ import annotations

import pytest

from topwork.data.prompt_endings import common_ending, end_alike, ended, ending_for

HASHES = "\n\n###\n\n"


@pytest.mark.parametrize(
    ("prompts", "alike"),
    [
        (["one"], True),
        (["a?", "b?"], True),
        (["a###\n\n\n\n\n", "b###\n\n\n\n\n"], True),
        (["a###\n", "b###"], False),
        (["\n", "\n"], False),
        (["a", "b"], False),
    ],
)
def test_ending_alike_is_in_a_letter_and_the_blanks_behind_it(prompts: list[str], alike: bool) -> None:
    assert end_alike(prompts) is alike


@pytest.mark.parametrize(
    ("prompts", "ending"),
    [
        ([f"Question {i}?{HASHES}" for i in range(3)] + ["odd"], HASHES),
        (["What is red? ->", "What is blue? ->", "And green?"], " ->"),
        (["Q: red?\nA:", "Q: blue?\nA:", "Q: green"], "\nA:"),
        (["eins###", "zwei###", "drei"], "###"),
        (["Translate a to French: ", "Translate b to French: ", "c"], " to French: "),
        (["How are you?", "Who are you?", "Say hello."], HASHES),
        (["a name", "your name", "the name", "other"], HASHES),
        (["one ->", "two ==="], HASHES),
        (["one ->", "two =>", "three"], HASHES),
        (["a ### b", "c"], "\n\n===\n\n"),
    ],
)
def test_the_ending_is_that_of_most_where_it_ends_no_sentence(prompts: list[str], ending: str) -> None:
    assert ending_for(prompts) == ending
    assert end_alike([ended(one, ending) for one in prompts])
    assert all(ended(one, ending).endswith(ending) for one in prompts)


@pytest.mark.parametrize(
    ("prompts", "ending"),
    [
        (["What is red? ->", "What is blue? ->"], " ->"),
        ([f"Question {i}?{HASHES}" for i in range(3)], HASHES),
        (["What is red? ->", "What is blue?"], ""),
        (["How are you?", "Who are you?"], ""),
        (["one ->"], ""),
        ([], ""),
    ],
)
def test_what_all_end_in_is_told_where_it_ends_no_sentence(prompts: list[str], ending: str) -> None:
    assert common_ending(prompts) == ending


@pytest.mark.parametrize(
    "prompt", ["What?", "What? ", "What?\n\n###", "What?###\n", "What? ->", f"What?{HASHES}"]
)
def test_another_ending_goes_and_the_rest_stays(prompt: str) -> None:
    assert ended(prompt, HASHES) == f"What?{HASHES}"
