"""Settings applied again, in this process: what is opened, what is kept, and that a mistake changes nothing."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from doors import made
from fake_servable import FakeServable, Gated, client
from topwork.errors import BundleError, ProofError, UsageError
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import LinkSettings, ModelSettings, ServerSettings
from topwork.serving.succession import Changes, Succession

RELOAD = "/v1/admin/reload"
T = TypeVar("T")


@dataclass
class Operator:
    """Keeps the settings, and opens models that are nothing but a name; what a test wants of one is in ``made``."""

    folder: Path
    settings: ServerSettings = field(default_factory=ServerSettings)
    key: str = ""
    made: dict[str, FakeServable] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    beside: dict[str, Path] = field(default_factory=dict)
    told: list[Changes] = field(default_factory=list)

    def wants(self, *names: str, **others: Any) -> None:
        for name in names:
            path = self.folder / name
            path.write_text(name) if not path.exists() else None
        models = tuple(ModelSettings(self.folder / name) for name in names)
        self.settings = replace(self.settings, models=models, **others)

    def read(self) -> ServerSettings:
        if self.settings.host == "nonsense":
            raise KeyError("secret")
        return self.settings

    def open(self, settings: ModelSettings, limits: Limits) -> Hosted:
        name = settings.name or settings.paths[0].name
        if not all(path.exists() for path in settings.paths):
            raise BundleError(f"There is no {name}.", next_step="Fit it.")
        self.opened.append(name)
        beside = [self.beside[name]] if name in self.beside else []
        return Hosted(self.made.get(name) or FakeServable(name=name), limits, 3, made_of=beside)

    def begin(self) -> Succession:
        return Succession(self.read, self.open, on_change=self.told.append)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    keys = tmp_path / "keys.json"
    return Operator(tmp_path, ServerSettings(keys=keys), made(keys, "operator", "predict", "admin"))


def used(operator: Operator, use: Callable[[Succession, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def main() -> None:
        succession = operator.begin()
        async with succession.app.running(), client(succession.app) as one:
            one.headers["x-api-key"] = operator.key
            await succession.app.proven()
            await use(succession, one)
            succession.end()

    asyncio.run(main())


async def names(one: httpx.AsyncClient) -> list[str]:
    return [model["name"] for model in (await one.get("/v1/models")).json()["models"]]


def test_only_what_changed_is_opened(operator: Operator) -> None:
    operator.wants("a", "b")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert (await one.post(RELOAD)).json() == {
            "opened": [],
            "kept": ["a", "b"],
            "removed": [],
            "limits_changed": False,
        }
        operator.wants("c", "b")
        told = (await one.post(RELOAD)).json()
        assert (told["opened"], told["kept"], told["removed"]) == (["c"], ["b"], ["a"])
        assert await names(one) == ["c", "b"]
        assert (await one.post("/predict", content=b"x")).json()["model"] == "c"
        assert (await one.post("/v1/models/a/predict", content=b"x")).status_code == 404
        assert "c" in str((await one.get("/openapi.json")).json()["info"]["title"])

    used(operator, use)
    assert operator.opened == ["a", "b", "c"]
    assert [change.opened for change in operator.told] == [(), ("c",)]


def test_another_file_of_the_same_name_is_opened(operator: Operator) -> None:
    operator.wants("a", "b")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        before = succession.app.models["a"].servable
        (operator.folder / "new").write_text(
            "a"
        )  # as long as the old one; what tells them apart is not the size
        (operator.folder / "new").replace(operator.folder / "a")
        told = (await one.post(RELOAD)).json()
        assert (told["opened"], told["kept"], told["removed"]) == (["a"], ["b"], [])
        assert succession.app.models["a"].servable is not before

    used(operator, use)
    assert operator.opened == ["a", "b", "a"]


def test_another_file_of_a_chain_opens_it_anew(operator: Operator) -> None:
    operator.wants("a", "b")
    links = tuple(LinkSettings(operator.folder / name) for name in ("a", "b"))
    chain = ModelSettings(name="both", chain=links)
    operator.settings = replace(operator.settings, models=(chain,))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert (await one.post(RELOAD)).json()["kept"] == ["both"]
        (operator.folder / "new").write_text("c")
        (operator.folder / "new").replace(operator.folder / "b")
        assert (await one.post(RELOAD)).json()["opened"] == ["both"]

    used(operator, use)
    assert operator.opened == ["both", "both"]


def test_another_file_that_a_model_needs_besides_opens_it_anew(operator: Operator) -> None:
    base = operator.folder / "base"
    base.mkdir()
    (base / "weights").write_text("1")
    operator.beside["a"] = base
    operator.wants("a", "b")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert (await one.post(RELOAD)).json()["kept"] == ["a", "b"]
        operator.wants("a", "b", limits=Limits(max_inputs=3))
        assert (await one.post(RELOAD)).json()["kept"] == ["a", "b"]
        (base / "weights").write_text("12")
        told = (await one.post(RELOAD)).json()
        assert (told["opened"], told["kept"]) == (["a"], ["b"])

    used(operator, use)
    assert operator.opened == ["a", "b", "a"]


def test_other_limits_open_nothing_and_prove_nothing(operator: Operator) -> None:
    proofs: list[None] = []
    operator.made["a"] = FakeServable("a", proof=lambda: proofs.append(None))
    operator.wants("a", limits=Limits(max_body_bytes=10))
    bounds: list[Limits] = []

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        succession.on_limits = bounds.append
        assert (await one.post("/predict", content=b"x" * 11)).status_code == 413
        operator.wants("a", limits=Limits(max_body_bytes=100, max_buffered_bytes=50))
        told = (await one.post(RELOAD)).json()
        assert (told["kept"], told["limits_changed"]) == (["a"], True)
        statuses = [(await one.post("/predict", content=b"x" * n)).status_code for n in (11, 60, 101)]
        assert statuses == [200, 429, 413]
        assert (await one.get("/v1/models/a")).json()["input"]["max_bytes"] == 100

    used(operator, use)
    assert (operator.opened, len(proofs)) == (["a"], 1)
    assert bounds == [Limits(max_body_bytes=100, max_buffered_bytes=50)]


def test_the_limits_say_how_many_work_at_once_and_else_the_model_does() -> None:
    assert Hosted(FakeServable(), Limits(), 3).workers.n_threads == 3
    assert Hosted(FakeServable(), Limits(max_concurrent=1), 3).workers.n_threads == 1
    assert Hosted(FakeServable(), Limits(max_concurrent=1), 3).under(Limits()).workers.n_threads == 3


def fails() -> None:
    raise ProofError("Output 3 differs by 0.2.", next_step="Fit it anew.")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (lambda one: one.wants("a", "bad"), "Output 3 differs"),
        (lambda one: one.wants("new", "a", "a"), "3 models with 2 different names"),
        (lambda one: one.wants(), "no model"),
        (lambda one: one.wants("new", port=8001), "port is 8001; the server runs with 8000"),
        (lambda one: one.wants("new", host="::1"), "host is ::1"),
        (lambda one: one.wants("new", keys=one.folder / "none.json"), "no file of API keys"),
        (lambda one: one.wants("new", allow_origin=("a.example",)), "is no origin"),
        (lambda one: one.wants("new", allow_host=("http://a.example",)), "is no name of a host"),
        (lambda one: one.wants("new", below=(one.folder / "x",)), "does not lie below"),
        (lambda one: (one.wants("new", "gone"), (one.folder / "gone").unlink()), "There is no gone"),
    ],
)
def test_a_mistake_changes_nothing_and_is_told(
    operator: Operator, wanted: Callable[[Operator], object], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    operator.wants("a")
    operator.made["bad"] = FakeServable("bad", proof=fails)

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        settings, hosted, threads = succession.settings, succession.app.models["a"], threading.active_count()
        wanted(operator)
        refused = await one.post(RELOAD)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (409, "conflict")
        assert told in error["message"]
        assert error["next_step"]
        assert succession.settings is settings
        assert succession.app.models == {"a": hosted}
        assert (await one.post("/predict", content=b"x")).json()["model"] == "a"
        await one.get("/livez")
        assert threading.active_count() <= threads + 1, "threads of what was refused are still there"

    used(operator, use)
    assert "everything" not in caplog.text
    assert "The settings were not applied; all is as it was." in caplog.text
    assert not operator.told


def test_a_mistake_of_ours_tells_a_client_nothing(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        operator.wants("a", host="nonsense")
        refused = await one.post(RELOAD)
        assert (refused.status_code, "secret" in refused.text) == (500, False)

    used(operator, use)
    assert "secret" in caplog.text


# --- requests under way -------------------------------------------------------------------------------


def test_a_request_ends_with_the_model_that_it_began_with_and_then_the_model_goes(operator: Operator) -> None:
    operator.made["a"] = old = Gated("a")
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        hosted = succession.app.models["a"]
        working, waiting = (asyncio.create_task(one.post("/predict", content=c)) for c in (b"1", b"22"))
        await asyncio.to_thread(old.entered.acquire)
        operator.wants("b")
        assert (await one.post(RELOAD)).json()["removed"] == ["a"]
        assert (await one.post("/predict", content=b"x")).json()["model"] == "b"
        assert not hosted.workers.stopped
        old.opened.set()
        for answer in (await working, await waiting):
            assert (answer.status_code, answer.json()["model"]) == (200, "a")
        async with asyncio.timeout(5):
            while not hosted.workers.stopped:
                await asyncio.sleep(0.01)

    used(operator, use)


def test_a_body_that_is_still_arriving_finds_its_model(operator: Operator) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        arrives = asyncio.Event()

        async def body() -> Any:
            yield b"1"
            await arrives.wait()
            yield b"2"

        slow = asyncio.create_task(one.post("/predict", content=body()))
        await asyncio.sleep(0.05)
        for name in ("b", "c"):
            operator.wants(name)
            await one.post(RELOAD)
        await asyncio.sleep(0.05)
        arrives.set()
        answer = await slow
        assert (answer.status_code, answer.json()["model"]) == (200, "a")

    used(operator, use)


def test_a_model_that_was_left_out_is_forgotten(operator: Operator) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        old = weakref.ref(succession.app.models["a"])
        operator.wants("b")
        await one.post(RELOAD)
        async with asyncio.timeout(5):
            while old() is not None:
                await asyncio.sleep(0.01)
                gc.collect()

    used(operator, use)


async def never_read(app: Application) -> None:
    """Ask for something, and take nothing of the answer."""
    scope = {"type": "http", "method": "GET", "path": "/livez", "raw_path": b"/livez", "headers": []}

    async def wait(_: object = None) -> Any:
        await asyncio.Event().wait()

    await app(scope, wait, wait)


def test_a_stream_that_nobody_reads_holds_no_model_for_ever(operator: Operator) -> None:
    limits = Limits(body_timeout_s=0.1, deadline_s=0.1)
    operator.wants("a", limits=limits)

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        hosted = succession.app.models["a"]
        endless = asyncio.create_task(never_read(succession.app))
        await asyncio.sleep(0.05)
        operator.wants("b")
        await one.post(RELOAD)
        async with asyncio.timeout(5):
            while not hosted.workers.stopped:
                await asyncio.sleep(0.01)
        assert not endless.done()
        endless.cancel()

    used(operator, use)


# --- who asks, and how often ----------------------------------------------------------------------------


def assert_set(event: threading.Event) -> None:
    assert event.wait(20)


async def looking(operator: Operator, ask: Callable[[], T]) -> tuple[T, threading.Event]:
    """Ask for a look that is under way, in the proof of a model ``b``, until the event is set."""
    release = threading.Event()
    operator.made["b"] = FakeServable("b", proof=lambda: assert_set(release))
    operator.wants("b")
    look = ask()
    while not operator.opened.count("b"):
        await asyncio.sleep(0.01)
    return look, release


def test_one_look_is_under_way_and_one_in_line_however_often_it_is_asked(operator: Operator) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        first, release = await looking(operator, succession.ask)
        operator.wants("c")
        later = [succession.ask() for _ in range(50)]
        assert len(set(later)) == 1
        assert first is not None
        assert first not in later
        release.set()
        assert (await first).opened == ("b",)
        assert later[0] is not None
        assert (await later[0]).opened == ("c",)

    used(operator, use)
    assert operator.opened == ["a", "b", "c"]


def test_the_end_of_the_server_gives_a_look_up(operator: Operator) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        asking, release = await looking(operator, lambda: asyncio.create_task(one.post(RELOAD)))
        succession.end()
        for refused in (await asking, await one.post(RELOAD)):
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert await names(one) == ["a"]
        assert succession.ask() is None
        release.set()

    used(operator, use)


def test_a_caller_who_leaves_takes_nothing_along(operator: Operator) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        asking, release = await looking(operator, lambda: asyncio.create_task(one.post(RELOAD)))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        release.set()
        look = succession.ask()
        assert look is not None
        await look
        assert await names(one) == ["b"]

    used(operator, use)


def test_a_look_before_the_proof_waits_for_it(operator: Operator) -> None:
    release = threading.Event()
    operator.made["a"] = FakeServable("a", proof=lambda: assert_set(release))
    operator.wants("a")

    async def main() -> None:
        succession = operator.begin()
        async with succession.app.running(), client(succession.app) as one:
            one.headers["x-api-key"] = operator.key
            operator.wants("b")
            look = succession.ask()
            assert look is not None
            await asyncio.sleep(0.05)
            assert await names(one) == ["a"]
            release.set()
            await succession.app.proven()
            await look
            assert await names(one) == ["b"]

    asyncio.run(main())


def test_the_call_is_an_operators_and_described(operator: Operator) -> None:
    operator.wants("a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        [route] = [route for route in succession.app.routes if route.path == RELOAD]
        assert (route.method, route.scope) == ("POST", "admin")
        described = (await one.get("/openapi.json")).json()["paths"][RELOAD]["post"]["responses"]
        assert set(described) == {"200", "401", "403", "409", "429", "500", "503"}
        changes = described["200"]["content"]["application/json"]["schema"]
        assert set((await one.post(RELOAD)).json()) == set(changes["required"])

    used(operator, use)


def test_who_may_ask_is_a_setting_too(operator: Operator) -> None:
    operator.wants("a")
    other = operator.folder / "other.json"
    key = made(other, "somebody", "predict", "admin")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        door = succession.app.door
        await one.post(RELOAD)
        assert succession.app.door is door, "it would forget who came how often"
        operator.wants("a", keys=other, allow_origin=("http://a.example",))
        await one.post(RELOAD)
        assert (await one.post("/predict", content=b"x")).status_code == 401
        one.headers.update({"x-api-key": key, "origin": "http://a.example"})
        answer = await one.post("/predict", content=b"x")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (
            200,
            "http://a.example",
        )
        operator.wants("a", keys=other, allow_host=("models.example.org",))
        await one.post(RELOAD)
        for host, status in (("models.example.org", 200), ("evil.example", 421)):
            assert (await one.post("/predict", content=b"x", headers={"host": host})).status_code == status
        operator.wants("a", keys=None)
        await one.post(RELOAD)
        del one.headers["x-api-key"]
        assert (await one.post("/predict", content=b"x")).status_code == 200
        assert (await one.post(RELOAD)).status_code == 403, "without keys nobody is an operator"
        assert "securitySchemes" not in (await one.get("/openapi.json")).json()["components"]

    used(operator, use)


def test_settings_that_cannot_be_served_do_not_begin(operator: Operator) -> None:
    with pytest.raises(UsageError, match="no model"):
        operator.begin()
