"""What a server and a worker process say to each other comes through as it was said, and nothing else does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_servable import PICTURE, TEXT, FakeServable
from topwork.contracts import Answer
from topwork.errors import BundleError, DecodeError, ProofError, TopworkError, UsageError
from topwork.serving.batching.gathering import Gathered
from topwork.serving.replicas.frames import (
    HEADER,
    MOST_BYTES,
    Channel,
    Description,
    Fault,
    Garbled,
    Gone,
    Kind,
    Opened,
    Order,
    Pulse,
    decode_answer,
    decode_ask,
    decode_error,
    encode_answer,
    encode_ask,
    encode_error,
)
from topwork.serving.replicas.references import reference_from_json
from unruly import REFERENCE, UnrulyBatches


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with closing(theirs), closing(channel):
        yield channel, theirs


def test_frames_come_as_they_were_sent_however_large(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    large = bytes(range(256)) * 20_000
    sender = threading.Thread(target=lambda: Channel(other).send(Kind.ANSWER, 7, [b"", large, b"x"]))
    sender.start()
    found = channel.receive()
    sender.join()
    assert found is not None
    assert (found.kind, found.number, found.content) == (Kind.ANSWER, 7, large + b"x")
    Channel(other).send(Kind.BEAT)
    found = channel.receive()
    assert found is not None
    assert (found.kind, found.number, found.content) == (Kind.BEAT, 0, b"")


def test_frames_of_several_threads_do_not_mix(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    sending = Channel(other)

    def send(number: int) -> None:
        for _ in range(50):
            sending.send(Kind.ANSWER, number, [bytes([number]) * 5000, bytes([number]) * 5000])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    frames = [channel.receive() for _ in range(200)]
    for thread in threads:
        thread.join()
    assert all(one is not None and one.content == bytes([one.number]) * 10_000 for one in frames)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense" * 100,
        HEADER.pack(b"tw", 99, 0, 0),
        HEADER.pack(b"TW", Kind.BEAT, 0, 0),
        HEADER.pack(b"tw", Kind.ANSWER, 1, MOST_BYTES + 1),
    ],
)
def test_what_is_no_frame_is_told(ends: tuple[Channel, socket.socket], sent: bytes) -> None:
    channel, other = ends
    other.sendall(sent)
    with pytest.raises(Garbled):
        channel.receive()


@pytest.mark.parametrize(
    "sent", [b"", HEADER.pack(b"tw", Kind.ANSWER, 1, 10)[:5], HEADER.pack(b"tw", Kind.ANSWER, 1, 10) + b"12"]
)
def test_an_end_is_an_end_also_in_the_middle_of_a_frame(
    ends: tuple[Channel, socket.socket], sent: bytes
) -> None:
    channel, other = ends
    other.sendall(sent)
    other.close()
    assert channel.receive() is None


def test_nobody_listens_any_more(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(Gone):
        for _ in range(3):
            channel.send(Kind.ASK, 1, [b"x" * 100_000])


def test_hanging_up_frees_who_waits_for_a_frame(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(channel.receive()))
    reader.start()
    channel.hang_up()
    reader.join(10)
    assert found == [None]


def test_who_has_finished_still_hears(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    channel.finish()
    assert other.recv(1) == b""
    Channel(other).send(Kind.BEAT)
    assert channel.receive() is not None


# --- contents -------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans())
def test_a_question_comes_through(inputs: list[bytes], explains: bool) -> None:
    assert decode_ask(b"".join(encode_ask(inputs, explains=explains))) == (inputs, explains)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(3, {"label": "ä", "n": [1, 2.5, None]}),
        Answer(0, None, "It is no photo.\nSend a photo."),
        Answer(1, {"text": "a"}, last=False),
    ],
)
def test_an_answer_comes_through(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)[0]) == answer


def test_an_answer_of_a_chain_comes_through_with_its_parts() -> None:
    parts = {
        "plate": Answer(0, {"label": "x"}, traits=(0.5, 2.0)),
        "owner": Answer(0, None, "It has none."),
        "left out": Answer(0, {"label": "y"}),
    }
    whole = Answer(0, {"plate": {"label": "x"}, "owner": {"error": "It has none."}}, parts=parts)
    found = decode_answer(encode_answer(whole)[0])
    assert found == whole
    assert found.parts == {name: one for name, one in parts.items() if name != "left out"}, (
        "own code left it out"
    )


@pytest.mark.parametrize(
    "parts",
    ['{"a": 1}', '{"a": {"problem": null}}', "[1]", '{"a": {"problem": "x", "last": true, "traits": 1}}'],
)
def test_parts_that_are_none_are_told(parts: str) -> None:
    told = '{"index": 0, "value": {"a": {}}, "problem": null, "last": true, "traits": [], "parts": %s}'
    with pytest.raises(Garbled):
        decode_answer((told % parts).encode())


def test_an_answer_that_is_no_json_is_the_models_mistake() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_answer(Answer(0, {"value": float("nan")}))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"index": "0"}', b"[" * 100_000])
@pytest.mark.parametrize("decode", [decode_answer, Description.decode])
def test_what_is_no_answer_and_no_description_is_told(
    decode: Callable[[bytes], object], content: bytes
) -> None:
    with pytest.raises(Garbled):
        decode(content)


@pytest.mark.parametrize("kind", [BundleError, ProofError, UsageError, DecodeError, TopworkError])
def test_our_errors_come_through_as_they_are(kind: type[TopworkError]) -> None:
    found = decode_error(encode_error(kind("It is broken.", next_step="Mend it."))[0])
    assert type(found) is kind
    assert str(found) == "It is broken.\nMend it."


def test_other_errors_come_with_where_they_arose() -> None:
    try:
        raise ValueError("secret")
    except ValueError as error:
        found = decode_error(encode_error(error)[0])
    assert type(found) is Fault
    assert "test_serving_frames.py" in str(found)
    assert "ValueError: secret" in str(found)


def test_no_error_makes_something_of_another_kind() -> None:
    found = decode_error(b'{"kind": "annotations", "problem": "x", "next_step": ""}')
    assert type(found) is TopworkError


@pytest.mark.parametrize("wire", [PICTURE, TEXT])
def test_a_description_comes_through(wire: object) -> None:
    described = Description.of(Opened(FakeServable(wire=wire), 3))  # type: ignore[arg-type]
    assert Description.decode(described.encode()[0]) == described
    assert (described.name, described.wire, described.n_at_once) == ("chess", wire, 3)


def test_an_order_comes_through() -> None:
    order = Order("a:b", b"\x00anything\xff", ("/x", "y"), 3, 0.5)
    assert Order.decode(b"".join(order.encode())) == order


def test_what_a_model_knows_of_its_fit_is_described() -> None:
    opened = Opened(UnrulyBatches(), 3, (Path("/weights"), Path("other")))
    described = Description.decode(Description.of(opened).encode()[0])
    assert described == Description.of(opened)
    assert described.made_of == ("/weights", "other")
    assert described.reference is not None
    assert reference_from_json(described.reference).n_rows == REFERENCE.n_rows
    broken = Description.of(opened).encode()[0].replace(b'"n_traits":2', b'"n_traits":3')
    with pytest.raises(Garbled):
        Description.decode(broken)


@pytest.mark.parametrize(
    "pulse", [Pulse(), Pulse((3, 4)), Pulse((), Gathered(4, 8, {1: 7, 3: 2})), Pulse((1,), Gathered())]
)
def test_a_sign_of_life_comes_through(pulse: Pulse) -> None:
    assert Pulse.decode(b"".join(pulse.encode())) == pulse


@pytest.mark.parametrize("content", [b"{", b"[]", b"[1, 2]", b"[[], [1]]", b'[["x"], null]', b"[" * 100_000])
def test_what_is_no_sign_of_life_is_told(content: bytes) -> None:
    with pytest.raises(Garbled):
        Pulse.decode(content)
