"""`writer`: a language model goes on with texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiny_writers import LLAMA, continued, tiny_writer, write_tiny_writer
from topwork import Surroundings, UsageError, Writer, writer
from topwork.contracts import Sampling
from topwork.progress import Quiet

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    folder = write_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny")
    around = Surroundings(cache_dir=folder / "cache", progress=Quiet(), n_cores=1)
    return writer(folder, precision="fp32", around=around)


def test_it_goes_on_as_transformers_does(tiny: Writer) -> None:
    (passage,) = tiny.passages("the end", length=20, sampling=GREEDY)
    expected = continued(tiny_writer(LLAMA), tuple(tiny.vocabulary.encode("the end")), 20)
    n = expected.index(0) if 0 in expected else 20
    assert passage.tokens == tuple(expected[:n])
    assert passage.ending == ("stop" if 0 in expected else "length")
    assert len(passage.log_probabilities) == n
    assert all(one < 0 for one in passage.log_probabilities)
    assert passage.text == tiny.vocabulary.decode(passage.tokens)


def test_texts_come_with_what_they_begin_with_or_without(tiny: Writer) -> None:
    whole = tiny.generate("the end", length=10, temperature=0)
    rest = tiny.generate("the end", length=10, temperature=0, include_prefix=False)
    assert whole == "the end" + rest
    assert tiny.generate("the end", length=10, temperature=0, as_list=True) == [whole]


def test_several_texts_are_drawn_apart_and_a_seed_gives_the_same_again(tiny: Writer) -> None:
    texts = tiny.generate("the", length=12, n_samples=3, temperature=2.0, seed=4, as_list=True)
    assert len(set(texts)) == 3
    assert tiny.generate("the", length=12, n_samples=3, temperature=2.0, seed=4, as_list=True) == texts
    assert tiny.generate("the", length=12, n_samples=1, temperature=2.0, seed=4) == texts[0]
    together = tiny.generate("the", length=12, n_samples=3, temperature=2.0, seed=4)
    assert together == f"\n{'=' * 20}\n".join(texts)


def test_words_to_stop_at_end_it_and_nothing_is_written_beyond(tiny: Writer) -> None:
    text = tiny.generate("the end", length=30, temperature=0, include_prefix=False)
    stop = text[5:8]
    (passage,) = tiny.passages("the end", length=30, sampling=GREEDY, stops=[stop])
    assert passage.text == text[: text.index(stop)]
    assert passage.ending == "stop"
    assert len(passage.tokens) < 30
    assert tiny.generate("the end", length=30, temperature=0, truncate=stop) == "the end" + passage.text
    assert tiny.generate("the end", length=30, temperature=0, stop=stop) == "the end" + passage.text


def test_a_text_is_given_as_it_is_written(tiny: Writer) -> None:
    pieces = list(tiny.stream("the end", length=20, sampling=GREEDY))
    assert len(pieces) > 3
    assert "".join(pieces) == tiny.generate("the end", length=20, temperature=0, include_prefix=False)


def test_who_listens_no_more_leaves_the_turn_to_others(tiny: Writer) -> None:
    pieces = tiny.stream("the", length=20, sampling=GREEDY)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert tiny.generate("the", length=2)


def test_texts_go_into_a_file(tiny: Writer, tmp_path: Path) -> None:
    tiny.generate_to_file(tmp_path / "out.txt", "the", length=5, n_samples=2, sampling=GREEDY)
    one = tiny.generate("the", length=5, temperature=0)
    assert (tmp_path / "out.txt").read_text("utf-8") == f"{one}\n{'=' * 20}\n" * 2


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"length": 0}, "length is 0"),
        ({"n_samples": 0}, "n_samples is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"length": 510}, "has 3 tokens and is to become 510 longer; tiny sees 512"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, float], problem: str, tiny: Writer) -> None:
    with pytest.raises(UsageError, match=problem):
        tiny.generate("abc", **settings)  # type: ignore[call-overload]


def test_an_empty_beginning_is_one_too(tiny: Writer) -> None:
    assert isinstance(tiny.generate(length=3, temperature=0), str)


def test_a_bundle_that_is_not_there_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no file .*nothing\.topwork|There is no .*nothing\.topwork"
    ) as caught:
        writer(tmp_path / "nothing.topwork")
    assert "folder" not in caught.value.problem
