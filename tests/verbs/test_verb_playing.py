"""A game on a real language model, a tiny one: the narrator, tables, and games that are gone on with."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest

from local_server import serving
from markdown_blocks import ROOT
from tiny_writers import write_tiny_writer
from topwork import FitOptions, Surroundings, UsageError, fit_writer
from topwork.contracts import Sampling
from topwork.play.events import Begun, Told
from topwork.play.manners import MARKED, PROSE
from topwork.progress import Quiet
from topwork.verbs.playing import PlayOptions, Table, new_game, open_table, site_of

SMALL = (("length", "24"), ("temperature", "1.5"), ("top_p", "1"), ("min_p", "0"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_writer(tmp_path_factory.mktemp("writers") / "tiny")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    return Surroundings(cache_dir=tmp_path_factory.mktemp("cache"), progress=Quiet(), n_cores=1)


def table(tiny: Path, here: Surroundings, saves: Path, **options: object) -> Table:
    given = PlayOptions(saves=saves, settings=SMALL, **options)  # type: ignore[arg-type]
    return open_table(tiny, given, precision="fp32", around=here, takes_paths=True)


def now() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5)


def test_a_real_model_tells_within_its_window_and_a_seed_gives_the_same_again(
    tiny: Path, here: Surroundings, tmp_path: Path
) -> None:
    stories = []
    for folder in ("a", "b"):
        game = new_game(table(tiny, here, tmp_path / folder, start="fantasy", seed=4), now=now)
        assert game.name == "auto-fantasy-2026-01-02-030405"
        for _ in range(8):  # eight times, since a random model may well write what is no story
            events = list(game.take("I take the lamp"))
            assert events[0] == Begun("do", "You take the lamp.")
            assert game.view().n_tokens <= game.narrator.window - 24
        stories.append(game.story)
    assert stories[0] == stories[1]
    assert stories[0].turns
    assert all(turn.result for turn in stories[0].turns)


def test_a_narrator_counts_as_the_model_does_and_ends_when_nobody_listens(
    tiny: Path, here: Surroundings, tmp_path: Path
) -> None:
    narrator = table(tiny, here, tmp_path).narrator
    assert (narrator.name, narrator.window) == ("tiny", 512)
    assert narrator.n_tokens("the end") == len(narrator.writer.vocabulary.encode("the end"))
    told = narrator.tell("the end", n_tokens=400, sampling=Sampling(temperature=0), stops=())
    assert next(told)
    told.close()
    assert list(narrator.tell("the end", n_tokens=5, sampling=Sampling(temperature=0), stops=()))


def test_a_game_is_gone_on_with_under_its_own_name(tiny: Path, here: Surroundings, tmp_path: Path) -> None:
    game = new_game(table(tiny, here, tmp_path, prompt="I wake up", seed=1), now=now)
    while not any(isinstance(one, Told) for one in game.take("")):
        pass
    again = new_game(table(tiny, here, tmp_path, load=game.name))
    assert (again.name, again.story) == (game.name, game.story)
    list(game.take("/save mine"))
    other = new_game(table(tiny, here, tmp_path, load="mine"), now=now)
    assert (other.story, other.name) == (game.story, "auto-own-2026-01-02-030405")
    by_path = new_game(table(tiny, here, tmp_path / "elsewhere", load=str(tmp_path / "mine.json")), now=now)
    assert by_path.story == game.story


def test_a_page_begins_as_the_options_say(tiny: Path, here: Surroundings, tmp_path: Path) -> None:
    game = new_game(table(tiny, here, tmp_path, start="sea"), now=now)
    while not any(isinstance(one, Told) for one in game.take("")):
        pass
    options = PlayOptions(saves=tmp_path / "web", load=str(tmp_path / f"{game.name}.json"))
    with serving(site_of(open_table(tiny, options, precision="fp32", around=here))) as url:
        sent = urllib.request.Request(f"{url}/games", b"{}", {"content-type": "application/json"})
        with urllib.request.urlopen(sent, timeout=20) as response:
            found = json.load(response)
        with urllib.request.urlopen(f"{url}/genres", timeout=20) as response:
            assert json.load(response)["asks"] is False
    assert found["turns"][0]["result"] == game.story.turns[0].result


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"start": "opera"}, "no genre 'opera'"),
        ({"start": "sea", "prompt": "I wake"}, "begins in one way"),
        ({"prompt": " "}, "The beginning is empty"),
        ({"load": "nowhere"}, "There is no story"),
        ({"settings": (("hue", "1"),)}, "no setting 'hue'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_a_model_is_opened(
    options: dict[str, object], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=problem):
        open_table("no-such-model", PlayOptions(saves=tmp_path, **options))  # type: ignore[arg-type]


def test_actions_are_marked_where_a_model_has_learned_them_from_a_tree(
    tiny: Path, here: Surroundings, tmp_path: Path
) -> None:
    assert table(tiny, here, tmp_path).manner == PROSE
    assert table(tiny, here, tmp_path, manner="marked").manner == MARKED
    few = FitOptions(steps=6, proof="none", recipe_settings={"length": "128", "rate": "0.01"})
    fitted = fit_writer(
        ROOT / "examples" / "stories" / "skerry_point.json",
        tmp_path / "tree.topwork",
        trunk=str(tiny),
        options=few,
        around=here,
    )
    has_learned = fitted.record.rungs[-1].chosen
    opened = open_table(fitted.path, PlayOptions(saves=tmp_path), precision="fp32", around=here)
    assert fitted.record.data.layout.startswith("A story tree")
    assert has_learned
    assert opened.manner == MARKED
