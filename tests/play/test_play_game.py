"""The game, driven with a narrator that says what the test wrote: turns, loops, endings, commands, saves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from fake_narrator import FakeNarrator
from topwork.play.events import Begun, Changed, Draft, Ended, Event, Left, Notice, Piece, Shown, Told, as_json
from topwork.play.game import Game
from topwork.play.manners import MARKED
from topwork.play.saves import Saves
from topwork.play.settings import Settings
from topwork.play.starts import Start
from topwork.play.story import Story, Turn
from topwork.play.words import Words

START = Start("fantasy", "You are Ada.", "It rains on the old hill.")
LOOP = " It rains on the old hill."


def game(
    folder: Path, *script: str, words: Words | None = None, **settings: object
) -> tuple[Game, FakeNarrator]:
    narrator = FakeNarrator(list(script))
    story = Story(START, 7, settings=replace(Settings(), **settings))  # type: ignore[arg-type]
    return Game(narrator, story, Saves(folder), "auto", words=words or Words()), narrator


def told(events: list[Event]) -> str:
    return "".join(one.text for one in events if isinstance(one, Piece))


def begun(events: Iterable[Event]) -> Event:
    """Return the first of all that happens."""
    first, *_ = events
    return first


def notices(events: list[Event]) -> str:
    return "\n".join(one.text for one in events if isinstance(one, (Notice, Shown, Ended)))


# --- turns ----------------------------------------------------------------------------------------------


def test_a_turn_is_streamed_saved_and_part_of_what_the_model_sees_next(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, " You find a door. It is locked. And beh", " It opens.")
    events = list(one.take("I search the hill"))
    assert events[0] == Begun("do", "You search the hill.")
    assert Draft("You find a") in events
    assert told(events) == "You find a door. It is locked."
    assert events[-1] == Told("You find a door. It is locked.")
    assert Saves(tmp_path).read("auto") == one.story
    list(one.take('say "open"'))
    assert narrator.asked[1].prompt == (
        "You are Ada.\n\nIt rains on the old hill.\n\nYou search the hill. You find a door. It is locked."
        '\n\nYou say "open."'
    )
    assert narrator.asked[1].stops == ("\n>",)
    assert (narrator.asked[0].n_tokens, narrator.asked[0].sampling.temperature) == (80, 0.75)
    assert [turn.kind for turn in one.story.turns] == ["do", "do"]


def test_an_empty_line_goes_on_and_narration_is_the_players(tmp_path: Path) -> None:
    one, narrator = game(tmp_path)
    assert begun(one.take("  ")) == Begun("continue", "")
    assert narrator.asked[0].prompt.endswith("It rains on the old hill.")
    assert begun(one.take("!a bell rings above me")) == Begun("story", "A bell rings above you.")
    assert begun(one.play("say", "who is there")) == Begun("say", 'You say "Who is there?"')


def test_actions_are_marked_for_a_model_that_learned_them_so(tmp_path: Path) -> None:
    one, narrator = game(tmp_path)
    one.manner = MARKED
    list(one.take("wait"))
    assert narrator.asked[0].prompt == "You are Ada.\n\nIt rains on the old hill.\n> You wait.\n"


@pytest.mark.parametrize(
    ("written", "result"),
    [
        (" You walk and walk without any end", "You walk and walk without any end…"),
        (" You stop. What do you do?", "You stop."),
        (" You stop.\n\n1. Run\n2. Hide", "You stop."),
        (" You stop.\n## Choices:\n", "You stop."),
        (" **You** stop  here.\n\n\nThen you go.", "You stop here.\n\nThen you go."),
        (" You stop.\nMARA: Who is it?", "You stop."),
        (' He says "Come. Quick. Or', 'He says "Come. Quick."'),
        (" You see Mr. Lamb. He waves. Then", "You see Mr. Lamb. He waves."),
    ],
)
def test_a_result_is_whole_sentences_of_a_story(written: str, result: str, tmp_path: Path) -> None:
    one, _ = game(tmp_path, written)
    events = list(one.take("go"))
    assert one.story.turns[-1].result == result
    assert told(events) == result


def test_what_is_closed_midway_keeps_its_whole_sentences(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, ' He says "One. Two is left.')
    events = one.take("go")
    while not isinstance(next(events), Piece):
        pass
    events.close()
    assert one.story.turns[-1].result == 'He says "One."'
    assert narrator.n_closed == 1
    assert Saves(tmp_path).read("auto") == one.story


def test_what_is_closed_before_a_sentence_leaves_the_story_as_it_was(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, " One two three.")
    events = one.take("go")
    next(events), next(events)
    events.close()
    assert (one.story.turns, narrator.n_closed) == ((), 1)


# --- loops and nothing ----------------------------------------------------------------------------------


def test_a_loop_is_told_again_with_a_raised_penalty_and_nobody_reads_it(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, LOOP, " A new thing comes.")
    events = list(one.take("wait"))
    assert told(events) == "A new thing comes."
    first, second = (asked.sampling for asked in narrator.asked)
    assert second.repetition_penalty > first.repetition_penalty
    assert second.seed != first.seed


def test_a_loop_that_stays_is_said_and_leaves_the_story_as_it_was(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, *[LOOP] * 3)
    events = list(one.take("wait"))
    assert "goes in circles" in notices(events)
    assert (told(events), one.story.turns, len(narrator.asked)) == ("", (), 3)


def test_a_loop_behind_something_new_only_ends_the_turn(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, f" A new thing comes.{LOOP} More comes.")
    list(one.take("wait"))
    assert one.story.turns[-1].result == "A new thing comes."
    assert narrator.n_closed == 1


def test_phrases_without_an_end_are_not_waited_for(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, " and the king of hills" * 20, " A new thing comes.")
    list(one.take("wait"))
    assert one.story.turns[-1].result == "A new thing comes."
    assert narrator.n_given < 40


def test_no_result_is_empty(tmp_path: Path) -> None:
    one, _ = game(tmp_path, "", "  \n", "> You run")
    assert "wrote nothing" in notices(list(one.take("wait")))
    assert one.story.turns == ()


# --- endings and words ----------------------------------------------------------------------------------


def test_an_ending_is_told_with_what_can_be_done(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " The roof falls. You die.")
    last = list(one.take("wait"))[-1]
    assert isinstance(last, Ended)
    assert (last.outcome, "/revert" in last.text) == ("death", True)


def test_words_are_masked_before_anybody_reads_them(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, " A rat runs. A brat laughs.", words=Words(("rat",)))
    events = list(one.take("feed the rat"))
    assert events[0] == Begun("do", "You feed the ***.")
    assert told(events) == "A *** runs. A brat laughs."
    assert not any("rat runs" in str(one) for one in events if isinstance(one, Draft))
    assert "rat" not in narrator.asked[0].prompt
    assert list(one.take("/set filter off"))
    assert begun(one.take("feed the rat")) == Begun("do", "You feed the rat.")


def test_words_are_told_another_way(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " A rat runs.", " A cat runs. A rat too.", words=Words(("rat",)), filter="retell")
    assert told(list(one.take("wait"))) == "A cat runs."
    assert "not to be read" in notices(list(one.take("feed the rat")))
    assert len(one.story.turns) == 1


# --- commands -------------------------------------------------------------------------------------------


def test_turns_are_taken_back(tmp_path: Path) -> None:
    one, _ = game(tmp_path)
    for _ in range(3):
        list(one.take(""))
    assert list(one.take("/revert 2"))[-1] == Changed()
    assert len(one.story.turns) == 1
    assert Saves(tmp_path).read("auto") == one.story
    assert "the story has 1" in notices(list(one.take("/revert 5")))
    assert "takes a number" in notices(list(one.take("/revert -1")))


def test_a_turn_is_told_another_way_and_kept_where_that_fails(tmp_path: Path) -> None:
    one, narrator = game(tmp_path, " You fall.", " You fly.", *[LOOP] * 3)
    list(one.take("jump"))
    list(one.take("/retry"))
    assert one.story.turns == (Turn("do", "You jump.", "You fly."),)
    assert narrator.asked[0].prompt == narrator.asked[1].prompt
    assert narrator.asked[0].sampling.seed != narrator.asked[1].sampling.seed
    assert "goes in circles" in notices(list(one.take("/retry")))
    assert one.story.turns == (Turn("do", "You jump.", "You fly."),)


def test_a_retry_needs_a_turn(tmp_path: Path) -> None:
    one, _ = game(tmp_path)
    assert "the story has 0" in notices(list(one.take("/retry")))


def test_the_last_result_is_altered(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " You fall.")
    list(one.take("jump"))
    assert "It is now: You fall." in notices(list(one.take("/alter")))
    assert list(one.take("/alter You land on your feet.")) == [Changed()]
    assert one.story.turns[-1].result == "You land on your feet."


def test_facts_are_pinned_and_forgotten(tmp_path: Path) -> None:
    one, narrator = game(tmp_path)
    list(one.take("/remember The key is brass."))
    list(one.take("/remember The door is oak."))
    shown = notices(list(one.take("/context")))
    assert "1. The key is brass.\n2. The door is oak." in shown
    assert (
        f"The model sees {one.view().n_tokens} tokens of at most 1,024: 11 that are never forgotten" in shown
    )
    list(one.take("wait"))
    assert narrator.asked[0].prompt.startswith("You are Ada. The key is brass. The door is oak.\n\n")
    list(one.take("/forget 1"))
    assert one.story.pinned == "You are Ada. The door is oak."
    list(one.take("/forget"))
    assert one.story.pinned == "You are Ada."
    assert "no remembered thing 0" in notices(list(one.take("/forget")))
    list(one.take("/remember A."))
    list(one.take("/forget all"))
    assert one.story.pinned == "You are Ada."


def test_too_much_is_not_pinned(tmp_path: Path) -> None:
    one, _ = game(tmp_path, memory=64)
    assert "may take half of the 64" in notices(list(one.take(f"/remember {'word ' * 40}")))
    assert one.story.remembered == ()


def test_settings_are_changed_within_bounds_and_kept(tmp_path: Path) -> None:
    one, narrator = game(tmp_path)
    assert "temperature 0.75" in notices(list(one.take("/set")))
    assert notices(list(one.take("/set temperature 0.5"))) == "temperature is 0.5."
    assert notices(list(one.take("/set length=20"))) == "length is 20."
    assert "expected 0 to 5" in notices(list(one.take("/set temperature 7")))
    narrator.window = 600
    assert "leaves no room" in notices(list(one.take("/set length 590")))
    list(one.take(""))
    assert (narrator.asked[0].n_tokens, narrator.asked[0].sampling.temperature) == (20, 0.5)
    assert Saves(tmp_path).read("auto").settings.length == 20


def test_stories_are_saved_loaded_and_none_is_lost(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " You fall.", " You fly.")
    list(one.take("jump"))
    assert notices(list(one.take("/save first"))) == "Saved as first."
    list(one.take("jump"))
    two_turns = one.story
    events = list(one.take("/load first"))
    assert events[-1] == Changed()
    assert [turn.result for turn in one.story.turns] == ["You fall."]
    assert Saves(tmp_path).read("auto 1") == two_turns
    assert set(notices(list(one.take("/load"))).split("\n")) == {"auto", "auto 1", "first"}
    assert "There is no story" in notices(list(one.take("/load nowhere")))


def test_a_save_that_is_damaged_changes_nothing(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " You fall.")
    list(one.take("jump"))
    (tmp_path / "bad.json").write_text('{"format": "topwork story"', encoding="utf-8")
    before = one.story
    assert "bad.json is damaged: it is no JSON" in notices(list(one.take("/load bad")))
    assert one.story == before
    assert (tmp_path / "bad.json").read_text("utf-8") == '{"format": "topwork story"'


def test_a_disk_that_cannot_be_written_to_does_not_end_the_game(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    one, _ = game(tmp_path / "file", " You fall.")
    assert "could not be saved" in notices(list(one.take("jump")))
    assert one.story.turns[-1].result == "You fall."


def test_another_story_begins_and_the_last_is_kept(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " You fall.")
    list(one.take("jump"))
    before = one.story
    assert list(one.take("/new space"))[-1] == Changed()
    assert (one.story.start.genre, one.story.turns) == ("space", ())
    assert Saves(tmp_path).read("auto 1") == before
    list(one.take("/new I wake up in a boat"))
    assert one.story.start.opening == "You wake up in a boat."
    list(one.take("/new"))
    assert one.story.start.genre == "fantasy"


def test_the_story_is_printed_and_help_given_and_slips_told(tmp_path: Path) -> None:
    one, _ = game(tmp_path, " You fall.")
    list(one.take("jump"))
    assert notices(list(one.take("/print"))) == "It rains on the old hill.\n\nYou jump. You fall."
    assert "/remember TEXT" in notices(list(one.take("/help")))
    assert list(one.take("/quit")) == [Left()]
    assert "Did you mean /retry?" in notices(list(one.take("/rety")))


def test_events_are_json_with_their_names() -> None:
    assert as_json(Begun("do", "You run.")) == {"event": "begun", "kind": "do", "action": "You run."}
