"""How trials of canaries ended outlives the server: until the canary is configured otherwise."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepers import Keeper, answered, used
from topwork.errors import StorageError, UsageError
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.settings.declared import ModelSettings, VersionSettings
from topwork.serving.succession import Succession
from topwork.serving.traffic.shares import Ended
from topwork.serving.traffic.verdicts import Verdicts, config_of

MODEL = "/v1/admin/models/m"
AT = datetime(2026, 11, 22, 10, 0, 7, tzinfo=UTC)


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper.at(tmp_path)


def versions(keeper: Keeper, text: str = "v2", **others: Any) -> ModelSettings:
    old = VersionSettings(keeper.put("v1", "v1"))
    return ModelSettings(
        name="m", versions=(old, VersionSettings(keeper.put(text, text), **{"canary": 0.5, **others}))
    )


def after_a_start(keeper: Keeper, post: str = "") -> Any:
    """Start a server, say what an operator says, and return what it tells of the canary and who answers then."""
    found: dict[str, Any] = {}

    async def use(_: Succession, one: httpx.AsyncClient) -> None:
        if post:
            assert (await one.post(f"{MODEL}/{post}")).status_code == 200
        found.update((await one.get(MODEL)).json()["canary"])
        found["answers"] = {(await answered(one, "m"))[0] for _ in range(30)}

    used(keeper, use)
    return found


@pytest.mark.parametrize(
    ("word", "phase", "who"), [("rollback", "rolled back", "v1"), ("promote", "promoted", "v2")]
)
def test_what_was_decided_holds_after_a_restart(keeper: Keeper, word: str, phase: str, who: str) -> None:
    keeper.wants(versions(keeper), verdicts=keeper.folder / "verdicts.json")
    assert after_a_start(keeper)["decided"] is None
    then = after_a_start(keeper, word)
    now = after_a_start(keeper)
    assert (now["phase"], now["answers"]) == (phase, {who})
    assert now == then
    assert datetime.fromisoformat(now["decided"]).tzinfo is not None


def test_what_is_decided_by_itself_is_kept_as_well(keeper: Keeper) -> None:
    rules = {"promote_after": 20, "most_errors": 0.3, "most_slower": 100.0}
    keeper.wants(versions(keeper, "fails", **rules), verdicts=keeper.folder / "verdicts.json")

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        for _ in range(400):
            await one.post("/predict", content=b"fail")
        assert (await one.get(MODEL)).json()["canary"]["phase"] == "rolled back"

    used(keeper, use)
    assert after_a_start(keeper)["answers"] == {"v1"}
    [entry] = json.loads((keeper.folder / "verdicts.json").read_text())["verdicts"]
    assert "requests failed" in entry["reason"]


def test_a_canary_that_was_changed_has_a_trial_of_its_own(keeper: Keeper) -> None:
    kept = keeper.folder / "verdicts.json"
    keeper.wants(versions(keeper), verdicts=kept)
    after_a_start(keeper, "rollback")
    for changed in (versions(keeper, canary=0.4), versions(keeper, promote_after=7)):
        keeper.wants(changed, verdicts=kept)
        assert after_a_start(keeper)["phase"] == "trial"
    keeper.wants(versions(keeper), verdicts=kept)
    assert after_a_start(keeper)["phase"] == "rolled back"
    (keeper.folder / "v2").write_text("v2, better")
    assert after_a_start(keeper) | {"answers": ()} == {
        "version": "v2",
        "phase": "trial",
        "verdict": "wait",
        "reason": "Nothing was counted yet.",
        "decided": None,
        "answers": (),
    }


def test_what_changes_of_others_changes_nothing(keeper: Keeper) -> None:
    kept = keeper.folder / "verdicts.json"
    model = versions(keeper)
    keeper.wants(model, verdicts=kept)
    after_a_start(keeper, "rollback")
    keeper.wants(
        replace(model, versions=(replace(model.versions[0], weight=7.0), model.versions[1])), verdicts=kept
    )

    async def use(succession: Succession, one: httpx.AsyncClient) -> None:
        assert (await one.get(MODEL)).json()["canary"]["phase"] == "rolled back"
        keeper.wants(model, verdicts=kept)
        assert (await one.post("/v1/admin/reload")).status_code == 200
        assert (await one.get(MODEL)).json()["canary"]["phase"] == "rolled back"
        keeper.wants(model, verdicts=keeper.folder / "other.json")
        assert "verdicts" in (await one.post("/v1/admin/reload")).json()["error"]["message"]

    used(keeper, use)


def test_the_same_files_elsewhere_are_the_same_canary(tmp_path: Path) -> None:
    places = [tmp_path / "a" / "v2", tmp_path / "b" / "v2"]
    for path in places:
        path.parent.mkdir()
        path.write_text("a bundle")
    assert len({config_of(VersionSettings(path, canary=0.1)) for path in places}) == 1
    first = VersionSettings(places[0], canary=0.1)
    named = replace(first, name="next")
    scaled = replace(first, replicas=Policy(max_replicas=2))
    trunks = [VersionSettings(trunk=trunk, name="v2", canary=0.1) for trunk in ("one", "two")]
    assert len({config_of(one) for one in (first, named, scaled, *trunks)}) == 5


def test_of_a_folder_every_file_counts(tmp_path: Path) -> None:
    trunk = tmp_path / "trunk"
    (trunk / "deep").mkdir(parents=True)
    one = VersionSettings(trunk=trunk, canary=0.1)
    before = config_of(one)
    (trunk / "deep" / "weights").write_text("w")
    assert config_of(one) != before


def test_without_a_file_the_log_says_that_it_ends_with_the_server(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.wants(versions(keeper))
    assert after_a_start(keeper, "rollback")["answers"] == {"v1"}
    assert (
        "m: no file keeps this; when the server starts anew, so does the trial of v2. Set verdicts: FILE."
        in caplog.text
    )
    assert after_a_start(keeper)["phase"] == "trial"


def test_what_cannot_be_kept_holds_all_the_same_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    book = Verdicts(folder / "verdicts.json")
    folder.rmdir()
    folder.write_text("a file in its place")
    with caplog.at_level(logging.ERROR):
        book.keep("m", "v2", "c", Ended("rolled back", "It failed.", AT))
    assert "could not be kept" in caplog.text
    assert book.of("m", "v2", "c") == Ended("rolled back", "It failed.", AT)
    assert book.of("m", "v2", "another") is None


def test_two_servers_keep_theirs_in_one_file(tmp_path: Path) -> None:
    one, other = Verdicts(tmp_path / "v.json"), Verdicts(tmp_path / "v.json")
    one.keep("a", "v2", "c", Ended("promoted", "Fine.", AT))
    other.keep("b", "v2", "d", Ended("rolled back", "Bad.", AT))
    third = Verdicts(tmp_path / "v.json")
    assert third.of("a", "v2", "c") == Ended("promoted", "Fine.", AT)
    assert third.of("b", "v2", "d") == Ended("rolled back", "Bad.", AT)
    assert (tmp_path / "v.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "no JSON",
        lambda text: text.replace("topwork-verdicts", "topwork-keys"),
        lambda text: text.replace("rolled back", "trial"),
        lambda text: text.replace("+00:00", ""),
        lambda text: text.replace('"config"', '"other"'),
    ],
)
def test_a_damaged_file_ends_the_start(keeper: Keeper, damage: Callable[[str], str]) -> None:
    path = keeper.folder / "verdicts.json"
    Verdicts(path).keep("m", "v2", "c", Ended("rolled back", "It failed.", AT))
    path.write_text(damage(path.read_text()))
    keeper.wants(versions(keeper), verdicts=path)
    with pytest.raises(UsageError, match="no file of verdicts"):
        keeper.begin()
    assert keeper.opened == []


def test_a_place_that_can_be_none_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "verdicts.json"):
        with pytest.raises(StorageError, match="Cannot read"):
            Verdicts(path)


def test_an_end_is_told_once_each_time(keeper: Keeper) -> None:
    path = keeper.folder / "verdicts.json"
    keeper.wants(versions(keeper), verdicts=path)

    async def use(_: Succession, one: httpx.AsyncClient) -> None:
        for word, phase in (("promote", "promoted"), ("rollback", "rolled back")):
            await one.post(f"{MODEL}/{word}")
            [entry] = json.loads(path.read_text())["verdicts"]
            assert (entry["phase"], entry["reason"]) == (phase, "An operator said so.")

    used(keeper, use)
