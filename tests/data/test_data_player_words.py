"""A player's words as prose: persons turned, sentences ended, speech left alone."""

from __future__ import annotations

import pytest

from topwork.data.player_words import as_action, as_narration, as_speech, in_second_person, marked


@pytest.mark.parametrize(
    ("words", "prose"),
    [
        ("take the sword", "You take the sword."),
        ("> Take the sword", "You take the sword."),
        ("I take my sword", "You take your sword."),
        ("i take my sword!", "You take your sword!"),
        ("you run", "You run."),
        ("You are hungry.", "You are hungry."),
        ("I am hungry", "You are hungry."),
        ("I'm not afraid", "You're not afraid."),
        ("I really was there", "You really were there."),
        ("my horse follows me", "Your horse follows you."),
        ("go home. Then I sleep", "You go home. Then you sleep."),
        ("wash myself. I wait", "You wash yourself. You wait."),
        ("to leave", "You leave."),
        ("go into the mine", "You go into the mine."),
        ("say that the gold is mine", "You say that the gold is yours."),
        ("north", "You go north."),
        ("n", "You go north."),
        ("look", "You look around."),
        ('say "I am lost"', 'You say "I am lost."'),
        ('ask the king "May I sit?"', 'You ask the king "May I sit?"'),
        ("shout “I am here”", "You shout “I am here.”"),
        ('say "hello', 'You say "hello."'),
        ('"hello"', 'You say "Hello."'),
        ("open\x1b[2J the\n door", "You open [2J the door."),
        (" > ", ""),
    ],
)
def test_actions_are_in_the_second_person(words: str, prose: str) -> None:
    assert as_action(words) == prose


@pytest.mark.parametrize(
    ("words", "prose"),
    [
        ("hello", 'You say "Hello."'),
        ("I am here, you know!", 'You say "I am here, you know!"'),
        ("who are you", 'You say "Who are you?"'),
        ('"so-called "friends""', 'You say "So-called \'friends."'),
        ("  ", ""),
    ],
)
def test_speech_stands_between_quotation_marks(words: str, prose: str) -> None:
    assert as_speech(words) == prose


def test_narration_is_turned_to_the_second_person_and_ended() -> None:
    assert as_narration("!the door falls shut behind me") == "The door falls shut behind you."
    assert as_narration("I wake up. My head hurts") == "You wake up. Your head hurts."
    assert as_narration("!") == ""


def test_what_is_quoted_is_left_alone() -> None:
    assert in_second_person('I said "I am I" to my friend.') == 'You said "I am I" to your friend.'
    assert in_second_person("It is in his mind, i.e. not mine I think") == (
        "It is in his mind, i.e. not mine you think"
    )


def test_an_action_of_a_tree_is_a_line_of_its_own() -> None:
    assert marked("You run.") == "\n> You run.\n"
