"""A real server on real sockets, and clients that try to kill it."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fake_servable import FakeServable
from topwork.errors import ProofError, UsageError
from topwork.serving.app import application
from topwork.serving.http.http11 import SURPLUS_CONNECTIONS, SURPLUS_PER_CLIENT
from topwork.serving.limits import Limits
from topwork.serving.server import listen, run, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1]
PATH = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
SCRIPT = """
import json, sys
from fake_servable import FakeServable
from topwork.serving.app import application
from topwork.serving.limits import Limits
from topwork.serving.server import run
options = json.loads(sys.argv[1])
servable = FakeServable(delay_s=options.pop("delay_s", 0.0))
origins = options.pop("origins", ())
app = application(servable, Limits(**options), origins=origins)
run(app, port=0, on_ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@contextmanager
def serving(options: str = "{}") -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = {**os.environ, "PYTHONPATH": PATH}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
        yield process, url
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server with short timeouts that every test of this file tries to hurt."""
    options = (
        '{"header_timeout_s": 0.5, "keep_alive_s": 1.0, "body_timeout_s": 0.5, '
        '"max_body_bytes": 100000, "max_waiting": 100}'
    )
    with serving(options) as (process, url):
        yield url
        assert process.poll() is None, "a test killed the server"


def dial(url: str, source: str | None = None) -> socket.socket:
    address = httpx.URL(url)
    come_from = (source, 0) if source else None
    return socket.create_connection((address.host, address.port or 80), timeout=20, source_address=come_from)


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def alive(url: str) -> None:
    assert httpx.post(f"{url}/predict", content=b"xyz").json()["predictions"][0]["n_bytes"] == 3


# --- clients that try to kill it -----------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"])
def test_headers_that_do_not_come_end_the_connection(server: str, sent: bytes) -> None:
    with closing(dial(server)) as slow:
        slow.sendall(sent)
        assert b" 408 " in everything(slow)
    alive(server)


def test_half_a_request_behind_a_whole_one_ends_the_connection(server: str) -> None:
    with closing(dial(server)) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /li")
        assert everything(slow).count(b"HTTP/1.1 200") == 1
    alive(server)


def send_until_closed(connection: socket.socket, piece: bytes, *, pause_s: float) -> None:
    for _ in range(2000):
        connection.sendall(piece)
        time.sleep(pause_s)


def test_headers_that_drip_end_the_connection_all_the_same(server: str) -> None:
    with closing(dial(server)) as slow:
        slow.sendall(b"GET /livez HTTP/1.1\r\n")
        with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe, as the system likes
            send_until_closed(slow, b"x: y\r\n", pause_s=0.05)
    alive(server)


def test_endless_headers_end_the_connection(server: str) -> None:
    with closing(dial(server)) as greedy:
        greedy.sendall(b"GET /livez HTTP/1.1\r\n")
        with pytest.raises(OSError):  # noqa: PT011
            send_until_closed(greedy, b"x: " + b"y" * 10_000 + b"\r\n", pause_s=0.0)
    alive(server)


def test_a_body_that_drips_gets_408(server: str) -> None:
    with closing(dial(server)) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nab")
        answer = everything(slow)
    assert b" 408 " in answer
    assert b"body_timeout" in answer
    alive(server)


@pytest.mark.parametrize("framing", [b"content-length: 20000000", b"transfer-encoding: chunked"])
def test_who_sends_too_much_still_reads_why(server: str, framing: bytes) -> None:
    chunk = b"x" * 50_000
    if b"chunked" in framing:
        chunk = b"c350\r\n" + chunk + b"\r\n"
    with closing(dial(server)) as greedy:
        greedy.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\n" + framing + b"\r\n\r\n")
        for _ in range(100):
            greedy.sendall(chunk)
        answer = b""
        while b"}}" not in answer:
            answer += greedy.recv(65536)
    assert b" 413 " in answer
    assert b"connection: close" in answer
    alive(server)


def test_garbage_is_answered_with_400_or_silence(server: str) -> None:
    rng, seen = random.Random(1), 0
    for _ in range(40):
        with closing(dial(server)) as strange:
            start = rng.choice([b"", b"GET ", b"POST /predict HTTP/1.1\r\n", b"POST /predict HTTP/9\r\n"])
            strange.sendall(start + rng.randbytes(rng.randrange(1, 200)) + b"\r\n\r\n")
            strange.shutdown(socket.SHUT_WR)
            answer = everything(strange)
            assert not answer.startswith(b"HTTP/1.1 5"), answer
            seen += 1
    assert seen == 40
    alive(server)


def test_clients_that_leave_at_any_point_cost_nothing(server: str) -> None:
    request = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n" + b"x" * 50
    for cut in range(1, len(request) + 1, 4):
        with closing(dial(server)) as leaving:
            leaving.sendall(request[:cut])
    alive(server)


def test_fifty_clients_at_once(server: str) -> None:
    async def main() -> list[int]:
        async with httpx.AsyncClient(timeout=60) as one:
            sizes = range(1, 51)
            got = await asyncio.gather(*(one.post(f"{server}/predict", content=b"x" * n) for n in sizes))
            return [answer.json()["predictions"][0]["n_bytes"] for answer in got]

    assert asyncio.run(main()) == list(range(1, 51))


def test_a_connection_serves_many_requests(server: str) -> None:
    with httpx.Client() as one:
        assert [one.post(f"{server}/predict", content=b"x").status_code for _ in range(50)] == [200] * 50


def test_names_with_encoded_slashes_arrive_whole(server: str) -> None:
    answer = httpx.get(f"{server}/v1/models/a%2Fb%20%C3%A9")
    assert "'a/b é'" in answer.json()["error"]["message"]


def test_a_browsers_question_is_answered_on_a_connection_that_stays() -> None:
    with serving('{"origins": ["https://friend.example"]}') as (_, url), httpx.Client() as one:
        headers = {"origin": "https://friend.example", "access-control-request-method": "POST"}
        for _ in range(3):
            assert one.options(f"{url}/predict", headers=headers).status_code == 204
            assert one.post(f"{url}/predict", content=b"x").status_code == 200


def talk(url: str, request: bytes) -> bytes:
    with closing(dial(url)) as connection:
        connection.sendall(request)
        return everything(connection)


PREDICT = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc"
LIVEZ = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"


def test_connections_beyond_the_limit_are_told_so_and_health_is_still_told() -> None:
    with serving('{"max_connections": 3}') as (process, url), ExitStack() as held:
        idle = [held.enter_context(closing(dial(url))) for _ in range(3)]
        time.sleep(0.2)
        refused = talk(url, PREDICT)
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"retry-after: " in refused
        assert b"connection: close" in refused
        assert b'"busy"' in refused
        healthy = talk(url, LIVEZ)
        assert healthy.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in healthy
        idle[0].sendall(PREDICT)
        assert b" 200 " in idle[0].recv(65536)
        for one in idle:
            one.close()
        time.sleep(0.2)
        alive(url)
        assert process.poll() is None


def test_connections_far_beyond_the_limit_are_closed_at_once() -> None:
    with serving('{"max_connections": 2, "header_timeout_s": 60}') as (_, url), ExitStack() as held:
        several = [held.enter_context(closing(dial(url))) for _ in range(2 + SURPLUS_CONNECTIONS + 5)]
        last = several[-1]
        last.settimeout(10)
        assert everything(last) == b""
        began = time.monotonic()
        assert b" 408 " in everything(several[2])
        assert time.monotonic() - began < 15, "a place beyond the limit was kept by one who says nothing"
        assert talk(url, LIVEZ).startswith(b"HTTP/1.1 200 ")
        several[0].sendall(PREDICT)
        assert b" 200 " in several[0].recv(65536)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
def test_a_client_with_too_many_connections_is_told_so_and_another_is_not() -> None:
    options = '{"max_connections_per_address": 3, "header_timeout_s": 60}'
    with serving(options) as (process, url), ExitStack() as held:
        several = [held.enter_context(closing(dial(url))) for _ in range(3)]
        time.sleep(0.2)
        refused = talk(url, PREDICT)
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"This address has as many connections open" in refused
        assert b"retry-after: " in refused
        assert talk(url, LIVEZ).startswith(b"HTTP/1.1 200 ")
        several += [held.enter_context(closing(dial(url))) for _ in range(SURPLUS_PER_CLIENT + 2)]
        several[-1].settimeout(10)
        assert everything(several[-1]) == b"", "far too many are closed at once"
        with closing(dial(url, source="127.0.0.2")) as other:
            other.sendall(PREDICT)
            assert b" 200 " in other.recv(65536)
        for one in several:
            one.close()
        time.sleep(0.2)
        alive(url)
        assert process.poll() is None


class Talkative(FakeServable):
    """Says more than a socket holds."""

    @property
    def about(self) -> Any:
        return {"text": "x" * 20_000_000}


async def connections_of_a_deaf_client(goodbye_s: float) -> list[int]:
    """Return how many connections there are while an answer is unread, and 2 s after the server closed it."""
    from topwork.serving.http.http11 import guarded, server

    one = server(application(Talkative(), Limits(keep_alive_s=0.1)))
    one.config.http = guarded(HttpToolsProtocol, 10.0, goodbye_s=goodbye_s)
    with listen("127.0.0.1", 0) as listener:
        serving_task = asyncio.create_task(one.serve(sockets=[listener]))
        while not one.started:
            await asyncio.sleep(0.01)
        deaf = await asyncio.to_thread(dial, url_of(listener))
        deaf.sendall(b"GET /v1/models/chess HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await asyncio.sleep(0.5)
        seen = [len(one.server_state.connections)]
        await asyncio.sleep(2)
        seen.append(len(one.server_state.connections))
        deaf.close()
        one.should_exit = True
        await serving_task
    return seen


def test_an_answer_that_nobody_reads_is_cut_off() -> None:
    assert asyncio.run(connections_of_a_deaf_client(goodbye_s=1.0)) == [1, 0]
    assert asyncio.run(connections_of_a_deaf_client(goodbye_s=60.0)) == [1, 1], "the test tells nothing"


FILES = """
import resource
from topwork.serving.http.http11 import room_for
resource.setrlimit(resource.RLIMIT_NOFILE, (300, {hard}))
print(room_for(1000), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
@pytest.mark.parametrize(("hard", "told"), [(2000, "1000 1256"), (700, "444 700"), (300, "44 300")])
def test_the_process_may_open_as_many_files_as_connections_come(hard: int, told: str) -> None:
    assert python(FILES.format(hard=hard)).stdout.strip() == told


# --- its end ------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can answer")
def test_sigterm_lets_the_request_under_way_finish() -> None:
    with serving('{"delay_s": 1.0}') as (process, url):
        with closing(dial(url)) as under_way:
            under_way.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc")
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            answer = everything(under_way)
        assert b" 200 " in answer
        assert b'"n_bytes":3' in answer
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out.strip(), err) == (0, "ended", "")
        with pytest.raises(OSError):  # noqa: PT011 - nobody listens any more
            dial(url).close()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can answer")
def test_a_model_that_hangs_does_not_keep_the_process() -> None:
    hanging = '{"delay_s": 600, "drain_s": 0.3}'
    with serving(hanging) as (process, url), closing(dial(url)) as under_way:
        under_way.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc")
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out.strip()) == (0, "ended")


def test_run_tells_its_url_and_returns_after_a_signal() -> None:
    before = signal.getsignal(signal.SIGINT)
    told: list[str] = []

    def on_ready(url: str) -> None:
        told.append(url)
        signal.raise_signal(signal.SIGINT)

    run(application(FakeServable()), port=0, on_ready=on_ready, on_listening=told.append)
    assert len(set(told)) == 1
    assert len(told) == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_failed_proof_ends_the_server_with_its_error() -> None:
    def proof() -> None:
        raise ProofError("Output 3 differs by 0.2.")

    told: list[str] = []
    with pytest.raises(ProofError, match="Output 3"):
        run(application(FakeServable(proof=proof)), port=0, on_ready=told.append)
    assert not told


def test_an_error_of_the_caller_ends_the_server_too() -> None:
    def on_ready(_: str) -> None:
        raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="terminal"):
        run(application(FakeServable()), port=0, on_ready=on_ready)


# --- its socket ---------------------------------------------------------------------------------------


def test_by_default_nobody_outside_can_reach_it() -> None:
    assert inspect.signature(run).parameters["host"].default == "127.0.0.1"


def test_a_port_in_use_is_a_clear_error() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1: the port is in use") as caught:
            run(application(FakeServable()), port=port)
        assert "another port" in caught.value.next_step


@pytest.mark.parametrize("host", ["no such name.invalid", "203.0.113.7", "a" * 300, "\x00"])
def test_a_host_that_is_not_here_is_a_clear_error(host: str) -> None:
    with pytest.raises(UsageError, match="is not an address of this machine"):
        listen(host, 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_a_clear_error(port: int) -> None:
    with pytest.raises(UsageError, match="between 0 and 65535"):
        listen("127.0.0.1", port)


def test_the_url_is_one_that_a_browser_can_open() -> None:
    with listen("0.0.0.0", 0) as everywhere:
        assert url_of(everywhere).startswith("http://localhost:")
    if socket.has_ipv6:
        with listen("::1", 0) as six:
            assert url_of(six).startswith("http://[::1]:")


# --- what it needs ------------------------------------------------------------------------------------


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PATH}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.slow
def test_a_missing_package_is_named_with_its_extra() -> None:
    for package in ("uvicorn", "python_multipart", "prometheus_client"):
        code = f"""
import sys
sys.modules[{package!r}] = None
from fake_servable import FakeServable
from topwork.serving.app import application
from topwork.serving.server import run
try:
    run(application(FakeServable()), port=0)
except ImportError as error:
    print(error)
"""
        done = python(code)
        assert package in done.stdout, done.stderr
        assert "with its extra serve" in done.stdout


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = """
import sys, topwork.serving.app, topwork.serving.server
print(sorted({"uvicorn", "python_multipart", "torch", "PIL", "httptools", "prometheus_client"} & set(sys.modules)))
"""
    assert python(code).stdout.strip() == "[]"


def test_both_protocols_of_uvicorn_can_be_guarded() -> None:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from topwork.serving.http.http11 import guarded, server

    async def main(protocol: Any) -> bytes:
        app = application(FakeServable(), Limits(header_timeout_s=0.2))
        one = server(app)
        if protocol is not None:
            one.config.http = guarded(protocol, 0.2)
        with listen("127.0.0.1", 0) as listener:
            url = httpx.URL(url_of(listener))
            serving_task = asyncio.create_task(one.serve(sockets=[listener]))
            while not one.started:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            first = await reader.read(4096)
            writer.write(b"GET /li")
            rest = await reader.read()
            writer.close()
            one.should_exit = True
            await serving_task
            return first + rest

    for protocol in (None, H11Protocol):
        answer = asyncio.run(main(protocol))
        assert b" 200 " in answer
        assert b" 408 " in answer
