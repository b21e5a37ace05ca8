"""Models of a folder on a server that answers: they come, are replaced, refused, rolled back and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepers import Keeper, Told, answered, used
from topwork.errors import UsageError
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import ModelSettings
from topwork.serving.succession import Succession

POLL_S = 0.02


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    found = Keeper.at(tmp_path)
    (tmp_path / "models").mkdir()
    found.wants(models_dir=tmp_path / "models", models_poll_s=POLL_S)
    return found


def lay(keeper: Keeper, name: str, text: str) -> Path:
    return keeper.put(f"models/{name}.topwork", text)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.01)


async def until_text(one: httpx.AsyncClient, name: str, text: str) -> None:
    async def holds() -> bool:
        response = await one.post(f"/v1/models/{name}/predict", content=b"x")
        return response.status_code == 200 and response.json()["predictions"][0]["text"] == text

    await until(holds)


async def names(one: httpx.AsyncClient) -> list[str]:
    return [model["name"] for model in (await one.get("/v1/models")).json()["models"]]


async def looks(n: int = 5) -> None:
    """Let the folder be looked at some times."""
    await asyncio.sleep(n * POLL_S)


def test_every_bundle_of_the_folder_is_a_model(keeper: Keeper) -> None:
    for name, text in (("b", "b1"), ("a", "a1"), ("v/1", "v1"), ("v/2", "v2")):
        lay(keeper, name, text)
    keeper.wants(ModelSettings(keeper.put("own", "own"), "own"))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert await names(one) == ["own", "a", "b", "v"]
        assert await answered(one, "v") == ("v2", "2")
        assert await answered(one, "a") == ("a1", "")
        told = (await one.get("/v1/admin/models/v")).json()
        assert told["versions"] == [{"version": "2", "share": 1.0}]
        await looks()

    used(keeper, use)
    assert keeper.opened == ["own", "a1", "b1", "v2"], "nothing is opened twice, and no version without need"


def test_each_is_proven_once(keeper: Keeper) -> None:
    proofs: list[str] = []
    for name in ("a", "b"):
        keeper.made[name] = Told(name, text=name, proof=lambda name=name: proofs.append(name))  # type: ignore[misc]
    lay(keeper, "a", "a")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        lay(keeper, "b", "b")
        await until_text(one, "b", "b")
        keeper.wants(limits=Limits(max_inputs=3))
        await one.post("/v1/admin/reload")

    used(keeper, use)
    assert proofs == ["a", "b"]


def test_at_the_start_a_bad_one_is_refused_and_the_rest_is_served(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in (
        ("a", "bad"),
        ("b", "half"),
        ("c", "odd"),
        ("d", "good"),
        ("v/1", "v1"),
        ("v/2", "bad 2"),
    ):
        lay(keeper, name, text)

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert await names(one) == ["d", "v"]
        assert await answered(one, "v") == ("v1", "1")
        await looks()

    used(keeper, use)
    assert caplog.text.count("is not served") == 4
    assert keeper.opened.count("bad") == 1


def test_a_folder_without_a_model_is_no_server(keeper: Keeper) -> None:
    with pytest.raises(UsageError, match="There is no model to serve"):
        keeper.begin()
    lay(keeper, "a", "bad")
    with pytest.raises(UsageError, match="holds none that can be"):
        keeper.begin()
    keeper.wants(models_dir=keeper.folder / "none")
    with pytest.raises(UsageError, match="There is no folder"):
        keeper.begin()


def test_what_is_dropped_in_is_proven_and_served(keeper: Keeper) -> None:
    lay(keeper, "a", "a1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        lay(keeper, "b", "b1")
        await until_text(one, "b", "b1")
        lay(keeper, "a", "a2")
        await until_text(one, "a", "a2")
        assert "b" in (await one.get("/openapi.json")).json()["info"]["title"]
        assert [change.opened for change in keeper.changed] == [("b",), ("a",)]

    used(keeper, use)


def test_a_bad_one_is_refused_once_and_the_old_one_stays(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    lay(keeper, "a", "a1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for bad in ("bad", "half", "odd"):
            path = lay(keeper, "a", bad)
            await until(lambda path=path: asyncio.sleep(0, str(path) in caplog.text))  # type: ignore[misc]
            await looks()
            assert await answered(one, "a") == ("a1", "")
            assert caplog.text.count("is not served") == 1
            caplog.clear()
        lay(keeper, "a", "a2")
        await until_text(one, "a", "a2")

    used(keeper, use)


def test_a_file_that_a_bad_one_was_written_over_stays_though_there_are_versions_before_it(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    lay(keeper, "v/1", "v1")
    lay(keeper, "v/2", "v2")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        seen = set()
        lay(keeper, "v/2", "half")
        async with asyncio.timeout(20):
            while "is not served" not in caplog.text:
                seen.add(await answered(one, "v"))
        await looks()
        assert seen | {await answered(one, "v")} == {("v2", "2")}
        assert (await one.post("/v1/admin/models/v/rollback")).status_code == 200
        assert await answered(one, "v") == ("v1", "1")

    used(keeper, use)


def test_a_reload_tries_a_refused_one_again(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    lay(keeper, "a", "a1")
    lay(keeper, "b", "bad")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        told = (await one.post("/v1/admin/reload")).json()
        assert (told["opened"], told["kept"]) == ([], ["a"])

    used(keeper, use)
    assert caplog.text.count("b.topwork is not served") == 2


def test_the_highest_version_answers_and_an_operator_goes_back(keeper: Keeper) -> None:
    lay(keeper, "v/1", "v1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert await answered(one, "v") == ("v1", "1")
        lay(keeper, "v/2", "v2")
        await until_text(one, "v", "v2")
        rolled = await one.post("/v1/admin/models/v/rollback")
        assert rolled.json()["versions"] == [{"version": "1", "share": 1.0}]
        assert await answered(one, "v") == ("v1", "1")
        await looks()
        await one.post("/v1/admin/reload")
        assert await answered(one, "v") == ("v1", "1"), "what was set aside stays so"
        again = await one.post("/v1/admin/models/v/rollback")
        assert again.status_code == 409
        assert "no other version" in again.json()["error"]["message"]
        assert await answered(one, "v") == ("v1", "1")
        lay(keeper, "v/3", "v3")
        await until_text(one, "v", "v3")
        (keeper.folder / "models/v/3.topwork").unlink()
        await until_text(one, "v", "v1")

    used(keeper, use)


def test_a_model_that_is_named_in_the_settings_has_nothing_to_go_back_to(keeper: Keeper) -> None:
    keeper.wants(ModelSettings(keeper.put("own", "own"), "own"))
    lay(keeper, "a", "a1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for name in ("own", "a"):
            refused = await one.post(f"/v1/admin/models/{name}/rollback")
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
            assert (await answered(one, name))[0].startswith(name)

    used(keeper, use)


def test_a_model_goes_with_its_file_but_for_the_last(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    lay(keeper, "a", "a1")
    path = lay(keeper, "b", "b1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        path.unlink()
        await until(lambda: _is(one, ["a"]))
        (keeper.folder / "models/a.topwork").unlink()
        await until(lambda: asyncio.sleep(0, "There is no model to serve" in caplog.text))
        await looks()
        assert caplog.text.count("There is no model to serve") == 1
        assert await answered(one, "a") == ("a1", "")
        lay(keeper, "c", "c1")
        await until(lambda: _is(one, ["c"]))

    used(keeper, use)


async def _is(one: httpx.AsyncClient, wanted: list[str]) -> bool:
    return await names(one) == wanted


def test_a_folder_that_cannot_be_seen_takes_no_model_away(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    lay(keeper, "a", "a1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        (keeper.folder / "models").rename(keeper.folder / "elsewhere")
        await until(lambda: asyncio.sleep(0, "There is no folder" in caplog.text))
        await looks()
        assert await answered(one, "a") == ("a1", "")
        assert caplog.text.count("There is no folder") == 1
        (keeper.folder / "elsewhere").rename(keeper.folder / "models")
        lay(keeper, "a", "a2")
        await until_text(one, "a", "a2")

    used(keeper, use)


def test_a_change_of_the_folder_applies_no_other_settings(keeper: Keeper) -> None:
    own = keeper.put("own", "own")
    keeper.wants(ModelSettings(own, "own"))

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        keeper.put("own", "own 2")
        keeper.wants(ModelSettings(own, "own"), limits=Limits(max_inputs=3))
        lay(keeper, "a", "a1")
        await until_text(one, "a", "a1")
        assert await answered(one, "own") == ("own", "")
        assert succession.settings.limits.max_inputs == Limits().max_inputs
        told = (await one.post("/v1/admin/reload")).json()
        assert (told["opened"], told["kept"], told["limits_changed"]) == (["own"], ["a"], True)
        assert await answered(one, "a") == ("a1", "")

    used(keeper, use)


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"below": (Path("/nowhere"),)}, "does not lie below"),
        ({}, "The settings have a model called 'a'"),
    ],
)
def test_what_may_not_be_served_is_refused(
    keeper: Keeper, caplog: pytest.LogCaptureFixture, others: dict[str, Any], told: str
) -> None:
    lay(keeper, "a", "a1")
    if others:
        keeper.wants(**others)
        with pytest.raises(UsageError, match="There is no model to serve"):
            keeper.begin()
    else:
        keeper.wants(ModelSettings(keeper.put("own", "own"), "a"))
        used(keeper, lambda *_: looks())
    assert caplog.text.count(told) == 1


def test_models_of_a_folder_follow_limits_without_being_opened_again(keeper: Keeper) -> None:
    path = lay(keeper, "a", "a1")
    lay(keeper, "b", "b1")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        path.write_text("bad")
        await looks()
        keeper.wants(limits=Limits(max_body_bytes=3))
        await one.post("/v1/admin/reload")
        for name in ("a", "b"):
            assert (await one.post(f"/v1/models/{name}/predict", content=b"xxxx")).status_code == 413
            assert await answered(one, name) == (f"{name}1", "")

    used(keeper, use)
    assert [text for text in keeper.opened if text != "bad"] == ["a1", "b1"]
