"""The small parts of the game: sentences, loops, endings, words, moves, starts, settings, commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from topwork.errors import UsageError
from topwork.play.commands import COMMANDS, HELP, Command, command_of
from topwork.play.endings import ending_of, said_of
from topwork.play.loops import circles, repeats
from topwork.play.moves import kind_of, move_of
from topwork.play.sentences import first_end, is_whole, sentences_of
from topwork.play.settings import Settings
from topwork.play.starts import GENRES, drawn_start, own_start
from topwork.play.story import Story, Turn
from topwork.play.words import Words, read_words

# --- sentences ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("You run. Then", "You run."),
        ('"Stop!" he says', '"Stop!"'),
        ("You meet Mr. Lamb. He", "You meet Mr. Lamb."),
        ("J. R. waits. So", "J. R. waits."),
        ("It costs 3.5 crowns. So", "It costs 3.5 crowns."),
        ("Wait… what", "Wait…"),
        ("A title\n\nThen", "A title"),
        ("You run.", ""),
        ("You run", ""),
    ],
)
def test_a_sentence_ends_where_more_follows(text: str, sentence: str) -> None:
    assert text[: first_end(text)] == sentence


def test_sentences_are_parted() -> None:
    assert sentences_of('One. "Two?" Three') == ["One.", '"Two?"', "Three"]
    assert is_whole('He says "no."')
    assert not is_whole("You meet Mr.")


# --- loops ----------------------------------------------------------------------------------------------


def test_what_was_said_before_is_known_again() -> None:
    before = ["You see a tall tower on the hill.", "Yes."]
    assert repeats("you see a tall tower, on the hill", before)
    assert repeats("And you see a tall tower on the hill.", [*before[:1], "Other."])
    assert not repeats("You see a small house in the valley.", before)
    assert not repeats("Yes.", before)


def test_phrases_over_and_over_are_circles() -> None:
    assert circles("the king of the hill and the king of the hill and the king of the hill")
    assert circles("no no no no no no")
    assert not circles("The king of the hill met the queen of the hill, and the king of the hill bowed.")


# --- endings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("The arrow hits. You die.", "death"),
        ("You are dead.", "death"),
        ("The dragon kills you with one bite.", "death"),
        ("Your quest is complete!", "victory"),
        ("And you live happily ever after.", "victory"),
        ("You close the book. The End.", "end"),
        ("If you stay, you die.", None),
        ("You almost die.", None),
        ('"You are dead," he says.', None),
        ("You win the cup.", None),
        ("You will die here one day.", None),
        ("In the end, you go home.", None),
    ],
)
def test_endings_are_recognised(text: str, outcome: str | None) -> None:
    assert ending_of(text) == outcome


def test_a_player_is_told_what_can_be_done_at_an_end() -> None:
    assert "/revert" in said_of("death")
    assert "/new" in said_of("victory")


# --- words that are not to be read ----------------------------------------------------------------------


def test_words_are_found_whole_and_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeffrat\nblack  cat # a pair\n\n# nothing\nrat\n", encoding="utf-8")
    words = read_words(path)
    assert words.listed == ("rat", "black cat")
    assert words.masked("A Rat, a black\ncat and a brat.") == "A ***, a *** and a brat."
    assert words.are_in("RAT!")
    assert not words.are_in("brats")


def test_no_words_are_in_nothing() -> None:
    assert not Words().are_in("anything")
    assert Words().masked("anything") == "anything"


@pytest.mark.parametrize(
    ("content", "problem"), [(b"# none", "holds no word"), (b"\xff\xfe\x00", "no text in UTF-8")]
)
def test_a_list_without_words_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        read_words(tmp_path / "words.txt")


# --- moves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind"),
    [("", "continue"), (" > ", "continue"), ("!Rain falls", "story"), ('"Hi."', "say"), ("run", "do")],
)
def test_a_line_says_what_kind_of_turn_it_is(line: str, kind: str) -> None:
    assert kind_of(line) == kind


def test_a_turn_without_words_goes_on() -> None:
    assert move_of("say", ' "" ') == Turn("continue", "")
    assert move_of("continue", "ignored") == Turn("continue", "")


def test_too_many_words_and_kinds_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="has 2,001 letters"):
        move_of("do", "x" * 2001)
    with pytest.raises(UsageError, match="no turn of the kind 'fly'"):
        move_of("fly", "home")


# --- starts ---------------------------------------------------------------------------------------------


def test_a_start_is_drawn_by_its_seed() -> None:
    assert len(GENRES) >= 5
    for genre in GENRES:
        found = {drawn_start(genre, seed) for seed in range(60)}
        assert len(found) > len(GENRES[genre].roles)
        assert drawn_start(genre, 3) == drawn_start(genre, 3)
        assert all(one.context.startswith("You are ") and is_whole(one.opening) for one in found)


def test_an_own_start_is_turned_to_the_second_person() -> None:
    assert own_start("I wake in my boat").opening == "You wake in your boat."
    with pytest.raises(UsageError, match="is empty"):
        own_start("  ")
    with pytest.raises(UsageError, match="no genre 'opera'"):
        drawn_start("opera", 0)


# --- the story ------------------------------------------------------------------------------------------

STORY = Story(own_start("It rains."), 7)


def test_turns_are_taken_back_and_altered() -> None:
    story = STORY.after(Turn("do", "You run.", "You fall.")).after(Turn("continue", "", "You get up."))
    assert story.text == "It rains.\n\nYou run. You fall. You get up."
    assert story.reverted(2) == STORY
    assert story.altered("You fly.").text == "It rains.\n\nYou run. You fall. You fly."
    assert STORY.altered("It snows.").text == "It snows."
    with pytest.raises(UsageError, match="3 turns are to be taken back; the story has 2"):
        story.reverted(3)


def test_facts_are_remembered_and_forgotten() -> None:
    story = STORY.remembering("A.").remembering("B.")
    assert story.pinned == "A. B."
    assert story.forgetting(1).pinned == "B."
    with pytest.raises(UsageError, match="no remembered thing 3"):
        story.forgetting(3)


def test_no_draw_is_made_twice_and_a_seed_gives_the_same_again() -> None:
    one, first = STORY.drawn()
    _, second = one.drawn()
    assert first != second
    assert STORY.drawn()[1] == first


# --- settings and commands ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "problem"),
    [
        ("temperature", "6", "temperature is 6; expected 0 to 5"),
        ("temperature", "nan", "temperature is nan"),
        ("temperature", "hot", "temperature is 'hot'; expected a number"),
        ("top_k", "1.5", "expected a whole number"),
        ("filter", "no", "filter is 'no'; expected one of mask, retell, off"),
        ("hue", "1", "There is no setting 'hue'"),
    ],
)
def test_settings_have_bounds(name: str, word: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Settings().changed(name, word)


def test_a_setting_is_changed_and_all_are_listed() -> None:
    assert Settings().changed("temperature", "0.9").temperature == 0.9
    assert "length 80  (8 to 1000)" in Settings().listed()
    assert Settings().sampling(1, n_tried=2).repetition_penalty > Settings().repetition_penalty


def test_commands_are_read_and_slips_are_told() -> None:
    assert command_of(" /Remember  the key ") == Command("remember", "the key")
    with pytest.raises(UsageError, match="Did you mean /revert"):
        command_of("/rewert")
    assert all(f"/{name}" in HELP for name in COMMANDS)
