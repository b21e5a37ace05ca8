"""What a model is shown: pinned context first, whole newest turns, never more tokens than there is room for."""

from __future__ import annotations

import pytest

from fake_narrator import FakeNarrator
from topwork.errors import UsageError
from topwork.play.manners import MARKED, PROSE
from topwork.play.memory import room_of, view_of
from topwork.play.starts import Start
from topwork.play.story import Story, Turn

COUNT = FakeNarrator().n_tokens
START = Start("fantasy", "You are Ada.", "It rains on the hill.")
TURNS = (
    Turn("do", "You run.", "You fall down hard."),
    Turn("continue", "", "You get up."),
    Turn("story", "A bell rings.", "Nobody comes."),
)
STORY = Story(START, 0, TURNS)
DOING = Turn("do", "You wait.")


def test_a_turn_is_prose_or_a_marked_line() -> None:
    prose = view_of(STORY, PROSE, COUNT, room=100, doing=DOING)
    assert prose.text == (
        "You are Ada.\n\nIt rains on the hill.\n\nYou run. You fall down hard. You get up.\n\n"
        "A bell rings. Nobody comes.\n\nYou wait."
    )
    marked = view_of(STORY, MARKED, COUNT, room=100, doing=DOING)
    assert marked.text == (
        "You are Ada.\n\nIt rains on the hill.\n> You run.\nYou fall down hard. You get up.\n\n"
        "A bell rings. Nobody comes.\n> You wait.\n"
    )
    assert (prose.n_turns, prose.shows_opening, prose.n_pinned) == (3, True, 3)
    assert prose.n_tokens == COUNT(prose.text)


@pytest.mark.parametrize("room", range(12, 36))
def test_as_many_whole_turns_as_fit_are_shown_and_no_token_more(room: int) -> None:
    view = view_of(STORY, PROSE, COUNT, room=room, doing=DOING)
    assert view.n_tokens <= room
    assert view.text.startswith("You are Ada.\n\n")
    assert view.text.endswith("A bell rings. Nobody comes.\n\nYou wait.")
    parts = [3, 5, 6, 3, 5, 2]  # tokens of the pinned, the opening, the turns, and what is done
    fit = [n for n in range(5) if parts[0] + sum(parts[5 - n : 5]) + parts[5] <= room]
    assert view.n_turns == min(max(fit), 3)
    assert view.shows_opening == (max(fit) == 4)


def test_what_joins_turns_is_counted_too() -> None:
    def count(text: str) -> int:
        return COUNT(text) + 5 * text.strip().count("\n\n")

    for room in range(20, 60):
        view = view_of(STORY, PROSE, count, room=room, doing=DOING)
        assert count(view.text) == view.n_tokens <= room


def test_the_end_of_the_newest_turn_is_shown_where_it_is_too_long() -> None:
    story = Story(START, 0, (Turn("do", "You talk.", " ".join(f"word{i}" for i in range(90))),))
    view = view_of(story, PROSE, COUNT, room=40, doing=DOING)
    assert 36 <= view.n_tokens <= 40
    assert view.text.startswith("You are Ada.\n\nword")
    assert view.text.endswith("word89\n\nYou wait.")
    assert (view.n_turns, view.shows_opening) == (0, False)


def test_what_is_pinned_takes_half_of_the_room_at_most() -> None:
    story = STORY.remembering(" ".join(f"fact{i}" for i in range(90)))
    view = view_of(story, PROSE, COUNT, room=40, doing=DOING)
    assert view.n_pinned == 20
    assert view.n_tokens <= 40
    assert view.text.endswith("You wait.")


def test_a_result_has_room_of_its_own() -> None:
    assert room_of(1024, 80, 8192) == 1024
    assert room_of(1024, 80, 512) == 432
    with pytest.raises(UsageError, match="A result of 500 tokens leaves no room for the story in the 512"):
        room_of(1024, 500, 512)
