"""A language model as a servable: orders in, texts out, together and alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiny_writers import write_tiny_writer
from topwork import Surroundings
from topwork.contracts import Answer, Batchable, Sampling, Servable
from topwork.engines.scribe import Desk, Scribe
from topwork.errors import DecodeError
from topwork.inputs.orders import Order
from topwork.progress import Quiet
from topwork.steps.served_writing import ServedWriter
from topwork.steps.writers import engine_on, graph_of
from topwork.trunks import resolve_writer

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ServedWriter:
    folder = write_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny")
    around = Surroundings(cache_dir=folder / "cache", progress=Quiet(), n_cores=1)
    model = resolve_writer(str(folder), {})
    return ServedWriter(
        "tiny", model.vocabulary(), Scribe(engine_on(graph_of(model, around), "fp32", around))
    )


def order(prompt: str = "the end", n: int | None = 10, **further: Any) -> Order:
    return Order(prompt=prompt, n_most=n, sampling=GREEDY, **further)


def texts(answers: Sequence[Answer], index: int = 0) -> str:
    return "".join(str(one.value["text"]) for one in answers if one.index == index and one.value is not None)


class Comers:
    """Whoever comes while a batch runs, and whoever goes."""

    def __init__(self, comers: Sequence[Any], gone: Collection[int] = ()) -> None:
        self.comers, self.leaving, self.n_asked = list(comers), gone, 0

    def admit(self) -> Sequence[Any]:
        self.n_asked += 1
        return [self.comers.pop(0)] if self.comers and self.n_asked > 3 else []

    def gone(self) -> Collection[int]:
        return self.leaving if self.n_asked > 5 else ()


def test_it_is_a_servable_that_takes_batches(tiny: ServedWriter) -> None:
    assert isinstance(tiny, Servable)
    assert isinstance(tiny, Batchable)
    tiny.prove()
    tiny.rehearse()
    assert tiny.about["writes"] == {"window": 512, "chats": False, "prompt_ending": ""}


def test_plain_text_is_gone_on_with(tiny: ServedWriter) -> None:
    (answer,) = tiny.submit([b"the end"])
    assert answer.value is not None
    assert answer.value["ending"] in ("stop", "length")
    assert answer.value["n_prompt_tokens"] == 5
    assert answer.value["tokens"] == []
    assert 0 < int(str(answer.value["n_tokens"])) <= 256


def test_pieces_make_the_whole_text(tiny: ServedWriter) -> None:
    (whole,) = tiny.submit([order().encoded()])
    pieces = list(tiny.submit([order(every_s=0.0).encoded()]))
    assert len(pieces) > 3
    assert [one.last for one in pieces] == [False] * (len(pieces) - 1) + [True]
    assert texts(pieces) == texts([whole])
    assert pieces[-1].value == {**(whole.value or {}), "text": pieces[-1].value and pieces[-1].value["text"]}


def test_a_text_that_takes_long_is_told_of_now_and_then(tiny: ServedWriter) -> None:
    (whole,) = tiny.submit([order(n=200).encoded()])
    pieces = list(tiny.submit([order(n=200, every_s=0.02).encoded()]))
    assert 1 < len(pieces) < 150
    assert texts(pieces) == texts([whole])


def test_a_bad_order_gets_a_problem_and_the_others_their_texts(tiny: ServedWriter) -> None:
    given = [order().encoded(), b"\xff\xfe", order("the " * 300, 400).encoded(), order().encoded()]
    found = {one.index: one for one in tiny.submit(given)}
    assert texts([found[0]]) == texts([Answer(0, found[3].value)])
    assert "no text in UTF-8" in str(found[1].problem)
    assert "there is room for 512" in str(found[2].problem)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Order(messages=({"role": "user", "content": "a"},)), "was not made for chats"),
        (Order(tokens=(1, 300)), "none of this model's"),
        (Order("a", sampling=Sampling(temperature=-1)), "temperature is -1"),
        (Order("a", schema={"type": "strin"}), "cannot be held to this JSON Schema"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_told_of(tiny: ServedWriter, wrong: Order, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        tiny.prepare(wrong.encoded())


def test_bytes_that_only_begin_like_an_order_are_refused(tiny: ServedWriter) -> None:
    for wrong in (b"\x00{", b"\x00[]", b'\x00{"prompt": 3}'):
        with pytest.raises(DecodeError, match="zero byte"):
            tiny.prepare(wrong)


def test_an_order_survives_its_way(tiny: ServedWriter) -> None:
    from topwork.inputs.orders import read_order

    sampling = Sampling(0.5, 3, 0.9, 0.1, 1.2, 7, 0.5, -0.5, ((3, -1.0), (4, 2.5)))
    sent = Order(
        prompt="é",
        messages=({"role": "user", "content": "a"},),
        n_most=5,
        sampling=sampling,
        unsaid=("top_k",),
        stops=("x",),
        n_likeliest=2,
        schema={"type": "object"},
        every_s=0.0,
    )
    assert read_order(sent.encoded()) == sent
    plain = read_order("Grüße".encode())
    assert plain.prompt == "Grüße"
    assert {"temperature", "top_p", "seed"} <= set(plain.unsaid)


def test_what_nobody_says_is_as_the_model_has_it(tiny: ServedWriter) -> None:
    tame = replace(tiny._vocabulary, sampling=Sampling(temperature=0))
    writer = ServedWriter("tame", tame, tiny.scribe)
    likeliest = texts(list(tiny.submit([order().encoded()])))
    unsaid = Order("the end", n_most=10, unsaid=("temperature",))
    assert texts(list(writer.submit([unsaid.encoded()]))) == likeliest
    assert texts(list(writer.submit([b"the end"]))).startswith(likeliest)
    wild = Order("the end", n_most=10, sampling=Sampling(temperature=5, seed=1), unsaid=("top_k",))
    assert texts(list(writer.submit([wild.encoded()]))) != likeliest


def test_newcomers_join_and_write_what_they_would_alone(tiny: ServedWriter) -> None:
    prompts = ["the end", "the the end", "end"]
    alone = [texts(list(tiny.submit([order(one).encoded()]))) for one in prompts]
    first, *others = [tiny.prepare(order(one).encoded()) for one in prompts]
    comers = Comers(others)
    found = list(tiny.compute([first], comers))
    assert [texts(found, index) for index in range(3)] == alone
    assert not comers.comers


def test_who_is_gone_gets_nothing_more_and_gives_its_room_back(tiny: ServedWriter) -> None:
    free = tiny.engine.pool.n_free
    both = [tiny.prepare(order("the", 300, every_s=0.0).encoded()), tiny.prepare(order().encoded())]
    found = list(tiny.compute(both, Comers((), gone=[0])))
    assert len([one for one in found if one.index == 0]) < 20
    assert [one.last for one in found if one.index == 1] == [True]
    until = time.monotonic() + 10
    while tiny.engine.pool.n_free != free and time.monotonic() < until:
        time.sleep(0.01)  # the thread takes note between two steps
    assert tiny.engine.pool.n_free == free


def test_a_text_that_ends_by_its_letters_leaves_the_batch(tiny: ServedWriter) -> None:
    whole = texts(list(tiny.submit([order(n=30).encoded()])))
    stop = whole[5:8]
    (found,) = tiny.submit([order(n=300, stops=(stop,)).encoded()])
    assert found.value is not None
    assert found.value["text"] == whole[: whole.index(stop)]
    assert found.value["ending"] == "stop"
    assert int(str(found.value["n_tokens"])) < 30


def test_two_names_for_one_engine_write_in_one_batch(tiny: ServedWriter) -> None:
    other = tiny.called("other")
    assert other.name == "other"
    assert other.engine is tiny.engine
    expected = texts(list(tiny.submit([order(n=60).encoded()])))
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda one=one: found.append(texts(list(one.submit([order(n=60).encoded()]))))
        )
        for one in (tiny, other, tiny, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_a_proof_has_the_engine_to_itself_while_others_write(tiny: ServedWriter) -> None:
    expected = texts(list(tiny.submit([order(n=200).encoded()])))
    found: list[str] = []
    writing = threading.Thread(
        target=lambda: found.append(texts(list(tiny.submit([order(n=200).encoded()]))))
    )
    writing.start()
    for _ in range(5):
        tiny.called("other").prove()
    writing.join(30)
    assert found == [expected]


def test_a_batch_that_breaks_is_told_to_all_who_are_in_it_and_the_next_one_is_well(
    tiny: ServedWriter,
) -> None:
    class Breaking:
        def __init__(self) -> None:
            self.pool, self.n_left = tiny.engine.pool, 3

        def run(self, parts: Any) -> Any:
            self.n_left -= 1
            if not self.n_left:
                raise RuntimeError("the engine has broken")
            return tiny.engine.run(parts)

    scribe = Scribe(Breaking())
    desk = Desk(scribe)
    opening = tiny._prepared(order(n=20)).opening
    desk.ask([opening, opening])
    with pytest.raises(RuntimeError, match="has broken"):
        while desk.take(10) is not None:
            pass
    desk.close()
    again = Desk(scribe)
    again.ask([opening])
    tokens = [again.take(10) for _ in range(20)]
    assert [one.ending for one in tokens if one is not None][-1] in ("length", "stop")


def test_a_model_that_has_no_probabilities_does_not_pass(tiny: ServedWriter, tmp_path: Path) -> None:
    from topwork.errors import ProofError

    folder = write_tiny_writer(tmp_path / "broken")
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file({name: value * float("nan") for name, value in state.items()}, folder / "model.safetensors")
    around = Surroundings(cache_dir=tmp_path / "cache", progress=Quiet(), n_cores=1)
    model = resolve_writer(str(folder), {})
    broken = ServedWriter(
        "broken", model.vocabulary(), Scribe(engine_on(graph_of(model, around), "fp32", around))
    )
    with pytest.raises(ProofError, match="no probability"):
        broken.prove()
