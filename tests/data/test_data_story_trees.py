"""Story trees: each way a text, each passage learned once, mistakes named by their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from markdown_blocks import ROOT
from topwork.data.corpus import TREE_LAYOUT, looks_like_corpus, read_corpus
from topwork.data.corpus_check import examine_corpus
from topwork.data.story_trees import read_story_tree, ways_through
from topwork.errors import DataError

EXAMPLE = ROOT / "examples" / "stories" / "skerry_point.json"


def node(action: str, result: str, *after: dict[str, Any]) -> dict[str, Any]:
    return {"action": action, "result": result, "action_results": list(after)}


TREE: dict[str, Any] = {
    "first_story_block": "You wake.",
    "action_results": [
        node("get up", "You stand.", node("I run", "You trip."), node('say "hi"', "Nobody answers.")),
        node("> You sleep.", "You dream."),
    ],
}


def written(folder: Path, tree: object) -> Path:
    path = folder / "tree.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def test_each_way_is_a_text_with_actions_as_the_game_writes_them(tmp_path: Path) -> None:
    corpus = read_corpus(written(tmp_path, TREE))
    assert ["".join(piece.text for piece in one.pieces) for one in corpus.documents] == [
        "You wake.\n> You get up.\nYou stand.\n> You run.\nYou trip.",
        'You wake.\n> You get up.\nYou stand.\n> You say "hi."\nNobody answers.',
        "You wake.\n> You sleep.\nYou dream.",
    ]
    assert corpus.layout.startswith(TREE_LAYOUT)
    assert corpus.documents[1].where == "tree.json, action_results[0].action_results[1]"


def test_each_passage_is_learned_once_and_no_action_is(tmp_path: Path) -> None:
    corpus = read_corpus(written(tmp_path, TREE))
    learned = [piece.text for one in corpus.documents for piece in one.pieces if piece.is_learned]
    assert learned == ["You wake.\n>", "You stand.\n>", "You trip.", "Nobody answers.", "You dream."]


def test_a_beginning_alone_is_a_text_and_a_context_stands_before_it() -> None:
    tree = read_story_tree(
        "a", b'{"first_story_block": "You wake.", "context": "You are Ada.", "tree_id": 7}'
    )
    assert [way.pieces for way in ways_through(tree, "a")] == [(("You are Ada.\n\nYou wake.", True),)]


def test_a_file_is_known_by_how_it_begins(tmp_path: Path) -> None:
    assert looks_like_corpus(written(tmp_path, TREE))
    assert not looks_like_corpus(written(tmp_path, {"label": "cat"}))


def test_several_trees_are_read_together(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.json").write_text(json.dumps(TREE))
    corpus = read_corpus(str(tmp_path / "*.json"))
    assert len(corpus.documents) == 6
    assert corpus.layout.startswith(TREE_LAYOUT)


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ([], "a.json is no story tree: it has no 'first_story_block'"),
        ({"first_story_block": 3}, "a.json, the root: 'first_story_block' is a number; expected a text"),
        ({"first_story_block": " "}, "'first_story_block' is empty"),
        ({"first_story_block": "A", "action_result": []}, "a.json, the root has the key 'action_result'"),
        ({"first_story_block": "A", "action_results": {}}, "'action_results' is an object; expected a list"),
        ({"first_story_block": "A", "action_results": [3]}, r"a.json, action_results\[0\] is a number"),
        (
            {"first_story_block": "A", "action_results": [node("a", "b", {"action": "c"})]},
            r"a.json, action_results\[0\].action_results\[0\] has no 'result'",
        ),
        ({"first_story_block": "A", "action_results": [node("> ", "b")]}, r"\[0\]: 'action' is empty"),
    ],
)
def test_a_mistake_is_named_with_its_place(tree: object, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_story_tree("a.json", json.dumps(tree).encode())


@pytest.mark.parametrize("depth", [201, 100_000])
def test_a_tree_that_is_too_deep_is_refused_and_breaks_nothing(depth: int) -> None:
    deep = '{"first_story_block": "A", "action_results": ['
    deep += '{"action": "a", "result": "b", "action_results": [' * depth + "]}" * depth + "]}"
    with pytest.raises(DataError, match=r"more than 200 turns|nested too deeply"):
        read_story_tree("a.json", deep.encode())


def test_a_tree_as_deep_as_may_be_is_read() -> None:
    deep = '{"first_story_block": "A", "action_results": ['
    deep += '{"action": "a", "result": "b", "action_results": [' * 200 + "]}" * 200 + "]}"
    [way] = ways_through(read_story_tree("a.json", deep.encode()), "a.json")
    assert len(way.pieces) == 401


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(DataError, match=r"a\.json is no JSON"):
        read_story_tree("a.json", b"{")


def test_the_mark_of_an_action_is_no_line_that_comes_over_and_over() -> None:
    corpus = read_corpus(EXAMPLE)
    found = examine_corpus(corpus, [300] * len(corpus.documents), 512)
    assert [one.what for one in found] == ["There are 3,900 tokens, which is little."]


def test_our_example_is_a_tree() -> None:
    tree = read_story_tree(EXAMPLE.name, EXAMPLE.read_bytes())
    assert len(tree.deeds) == 25
    assert len(list(ways_through(tree, EXAMPLE.name))) == 13
    assert all(one.action.startswith("You ") and one.result[-1] in '."' for one in tree.deeds)
