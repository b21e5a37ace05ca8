"""Webhooks: only to hosts that are allowed, at addresses that were looked at, signed, again until they are taken."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fake_servable import FakeServable, client
from topwork.errors import StorageError, UsageError
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.jobs.jobs import Jobs, Tempo
from topwork.serving.jobs.telling import again_in_s
from topwork.serving.jobs.webhooks import Undelivered, Webhooks, read_secrets, signed
from topwork.serving.limits import Limits

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


@dataclass
class Receiver:
    """A server that notes what it is told, and answers with the statuses it was given, the last one for ever."""

    statuses: list[int]
    url: str = ""
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    told: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait(self, n: int = 1) -> None:
        for _ in range(n):
            assert self.told.acquire(timeout=20), f"it was told {len(self.seen)} times"


@contextmanager
def receiving(*statuses: int, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver(list(statuses) or [200])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = receiver.statuses[0]
            del receiver.statuses[: len(receiver.statuses) > 1]
            self.send_response(status)
            self.send_header("location", f"{receiver.url}/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()
            receiver.told.release()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        receiver.url = f"{scheme}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


def hooks(secret: Path, *allowed: str, **rest: Any) -> Webhooks:
    return Webhooks(allowed, secret, **rest)


# --- where to -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/",
        "https://hooks.example.org",
        "https://HOOKS.example.org/a/b?c=d",
        "https://hooks.example.org:443/x",
        "https://other.example.org:8443/x",
        "http://127.0.0.1:9000/x",
        "http://localhost:9000/",
        "https://[2001:db8::1]/x",
    ],
)
def test_allowed_hosts_are_allowed(secret: Path, url: str) -> None:
    allowed = (
        "hooks.example.org",
        "other.example.org:8443",
        "http://127.0.0.1:9000",
        "http://localhost:9000",
    )
    assert hooks(secret, *allowed, "[2001:db8::1]").target(url).path.startswith("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/",
        "https://hooks.example.org:8443/",
        "https://hooks.example.org.evil.example/",
        "https://evil.example/hooks.example.org",
        "https://hooks.example.org@evil.example/",
        "https://evil.example@hooks.example.org/",
        "https://hooks.example.org/#x",
        "https://hooks.example.org:99999/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org/a b",
        "https://hooks.example.org/ä",
        "https://hooks.example.org/\r\nx-a: b",
        "https://hooks.example.org\\@evil.example/",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
        "//hooks.example.org/",
        "hooks.example.org",
        "https:///",
        "",
        "https://hooks.example.org/" + "x" * 3000,
    ],
)
def test_everything_else_is_refused(secret: Path, url: str) -> None:
    with pytest.raises(UsageError, match="no URL that this server sends webhooks to"):
        hooks(secret, "hooks.example.org").target(url)


@pytest.mark.parametrize(
    "word", ["", "http://hooks.example.org", "https://a.example/path", "a b", "ftp://a", "a@b"]
)
def test_what_is_no_host_is_refused_at_the_start(secret: Path, word: str) -> None:
    with pytest.raises(UsageError):
        hooks(secret, word)


INSIDE = (
    "127.0.0.1",
    "10.0.0.5",
    "192.168.1.1",
    "172.16.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "::1",
    "fe80::1",
    "fd00::1",
    "::ffff:10.0.0.5",
    "2002:7f00:1::",
    "64:ff9b::a00:5",
)


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_not_followed(secret: Path, address: str) -> None:
    for found in ([address], ["93.184.216.34", address]):

        def resolve(host: str, port: int, found: Sequence[str] = found) -> Sequence[str]:
            return found

        with pytest.raises(Undelivered, match="not of the open Internet"):
            hooks(secret, "hooks.example.org", resolve=resolve).send("https://hooks.example.org/", {}, b"")


def test_an_address_that_the_operator_named_may_be_inside(secret: Path) -> None:
    """The name leads to an address that is named beside it; nothing listens there, which is found out by connecting."""
    allowed = hooks(secret, "hooks.example.org:1", "127.0.0.1", resolve=lambda *_: ["127.0.0.1"])
    with pytest.raises(Undelivered, match="ConnectionRefusedError"):
        allowed.send("https://hooks.example.org:1/", {}, b"")


def test_a_loopback_name_that_leads_outside_is_not_followed(secret: Path) -> None:
    allowed = hooks(secret, "http://localhost:9000", resolve=lambda *_: ["93.184.216.34"])
    with pytest.raises(Undelivered, match="not of the open Internet"):
        allowed.send("http://localhost:9000/", {}, b"")


# --- what is sent ---------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the specification's reference implementations."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_is_replaced_with_two_signatures_for_a_time(secret: Path) -> None:
    secret.write_text(f"{SECRET}\nwhsec_{base64.b64encode(b'y' * 24).decode()}\n")
    signatures = signed(read_secrets(secret), "a", 1, b"")["webhook-signature"].split(" ")
    assert [one[:3] for one in signatures] == ["v1,", "v1,"]
    assert signatures[0] != signatures[1]


@pytest.mark.parametrize(
    "content", ["", "\n", "secret", "whsec_", "whsec_!!!!", "whsec_" + "QUJD" * 3, f"{SECRET}\nx"]
)
def test_what_is_no_secret_is_refused(secret: Path, content: str) -> None:
    secret.write_text(content)
    with pytest.raises(UsageError, match="holds no secret"):
        read_secrets(secret)


def test_a_secret_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_secrets(tmp_path / "none")


@pytest.mark.parametrize(
    ("status", "final"), [(302, False), (307, False), (404, False), (410, True), (500, False)]
)
def test_only_a_status_of_success_is_one(secret: Path, status: int, final: bool) -> None:
    with receiving(status) as receiver:
        with pytest.raises(Undelivered, match=f"status {status}") as caught:
            hooks(secret, receiver.url).send(f"{receiver.url}/x", {}, b"{}")
        assert caught.value.final == final
        assert len(receiver.seen) == 1, "nothing was followed"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate")
def test_a_certificate_is_checked_by_the_name(secret: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=hooks.example.org",
    ]
    names = ["-addext", "subjectAltName=DNS:hooks.example.org", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving(context=context) as receiver:
        port = int(receiver.url.rpartition(":")[2])

        def allowed(host: str, trusts: bool) -> Webhooks:
            return hooks(
                secret,
                f"{host}:{port}",
                "127.0.0.1",
                resolve=lambda *_: ["127.0.0.1"],
                tls=lambda: ssl.create_default_context(cafile=str(certificate) if trusts else None),
            )

        allowed("hooks.example.org", True).send(f"https://hooks.example.org:{port}/x", {"a": "b"}, b"{}")
        assert receiver.seen[0][0]["host"] == f"hooks.example.org:{port}"
        for host, trusts in (("hooks.example.org", False), ("other.example.org", True)):
            with pytest.raises(Undelivered, match="SSLCertVerificationError"):
                allowed(host, trusts).send(f"https://{host}:{port}/x", {}, b"{}")
        assert len(receiver.seen) == 1


# --- with jobs ------------------------------------------------------------------------------------------


def run_job(
    path: Path, webhooks: Webhooks, url: str, receiver: Receiver, n_told: int = 1, **limits: Any
) -> str:
    """Make a job, wait until the receiver was told, and return the metrics."""

    async def main() -> str:
        bounds = Limits(**limits)
        jobs = Jobs(path, webhooks=webhooks, tempo=Tempo(0.05, 0.05))
        app = Application([Hosted(FakeServable(), bounds)], bounds, jobs=jobs)
        async with app.running(), client(app) as one:
            await app.proven()
            made = await one.post("/v1/models/chess/jobs", content=b"abc", headers={"x-webhook-url": url})
            assert made.status_code == 202, made.text
            await asyncio.to_thread(receiver.wait, n_told)
            for _ in range(200):
                told = (await one.get("/metrics")).text
                if 'outcome="delivered"' in told or 'outcome="given_up"' in told:
                    break
                await asyncio.sleep(0.01)
            return told

    return asyncio.run(main())


def test_the_end_of_a_job_is_told(secret: Path, tmp_path: Path) -> None:
    with receiving(204) as receiver:
        run_job(tmp_path / "jobs", hooks(secret, receiver.url), f"{receiver.url}/done?x=1", receiver)
    [(headers, body)] = receiver.seen
    said = json.loads(body)
    assert (said["type"], said["data"]["status"], said["data"]["model"]) == ("job.done", "done", "chess")
    assert said["data"]["url"] == f"/v1/jobs/{said['data']['id']}"
    assert headers["webhook-id"] == f"msg_{said['data']['id']}"
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(KEY, content, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_it_is_told_again_under_the_same_id_until_it_is_taken(secret: Path, tmp_path: Path) -> None:
    with receiving(500, 200) as receiver:
        told = run_job(tmp_path / "jobs", hooks(secret, receiver.url), receiver.url, receiver, n_told=2)
    assert len({headers["webhook-id"] for headers, _ in receiver.seen}) == 1
    assert 'topwork_webhooks_total{outcome="retried"} 1.0' in told
    assert 'topwork_webhooks_total{outcome="delivered"} 1.0' in told


def test_it_is_given_up_in_time(secret: Path, tmp_path: Path) -> None:
    with receiving(500) as receiver:
        told = run_job(
            tmp_path / "jobs", hooks(secret, receiver.url), receiver.url, receiver, webhook_retry_s=0.5
        )
    assert 'topwork_webhooks_total{outcome="given_up"} 1.0' in told


def test_who_wants_no_more_is_told_no_more(secret: Path, tmp_path: Path) -> None:
    with receiving(410) as receiver:
        told = run_job(tmp_path / "jobs", hooks(secret, receiver.url), receiver.url, receiver)
    assert 'topwork_webhooks_total{outcome="given_up"} 1.0' in told


def test_a_host_that_is_not_allowed_is_refused_with_the_job(secret: Path, tmp_path: Path) -> None:
    async def main() -> int:
        jobs = Jobs(tmp_path / "jobs", webhooks=hooks(secret, "hooks.example.org"))
        app = Application([Hosted(FakeServable(), Limits())], Limits(), jobs=jobs)
        async with app.running(), client(app) as one:
            await app.proven()
            headers = {"x-webhook-url": "https://169.254.169.254/latest"}
            return (await one.post("/v1/models/chess/jobs", content=b"x", headers=headers)).status_code

    assert asyncio.run(main()) == 400


def test_what_was_not_told_is_told_after_the_next_start(secret: Path, tmp_path: Path) -> None:
    with receiving(200) as receiver:
        allowed = hooks(secret, receiver.url)

        async def made() -> None:
            # The same hosts, with a secret that is gone: nothing can be told now.
            jobs = Jobs(tmp_path / "jobs", webhooks=hooks(tmp_path / "none", receiver.url))
            app = Application([Hosted(FakeServable(), Limits())], Limits(), jobs=jobs)
            async with app.running(), client(app) as one:
                await app.proven()
                headers = {"x-webhook-url": receiver.url}
                name = (await one.post("/v1/models/chess/jobs", content=b"x", headers=headers)).json()["id"]
                while not jobs.counts.told["retried"]:
                    await asyncio.sleep(0.01)
                assert (await one.get(f"/v1/jobs/{name}")).json()["status"] == "done"

        async def started() -> Counter[str]:
            jobs = Jobs(tmp_path / "jobs", webhooks=allowed)
            app = Application([Hosted(FakeServable(), Limits())], Limits(), jobs=jobs)
            async with app.running():
                await asyncio.to_thread(receiver.wait)
                while not jobs.counts.told["delivered"]:
                    await asyncio.sleep(0.01)
            return jobs.counts.told

        asyncio.run(made())
        assert receiver.seen == []
        assert asyncio.run(started()) == Counter(delivered=1)


def test_waits_grow_up_to_a_bound() -> None:
    waits = [again_in_s(tries) for tries in range(30)]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits == sorted(waits)
    assert waits[-1] == 300.0
