"""A folder of bundles, looked at: names, versions, files that are still being written, files that were refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from doors import Clock
from topwork.errors import BundleError, UsageError
from topwork.serving.traffic.directory import Directory

REST_S = 2.0


class Looking:
    """A folder, and what a look at it finds: for each model its files, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.directory = Directory(self.clock)

    def put(self, name: str, content: str = "x") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def look(self, after_s: float = 0.0) -> dict[str, list[str]]:
        self.clock.now_s += after_s
        found = self.directory.look(self.folder, REST_S)
        return {
            name: [one.path.relative_to(self.folder).as_posix() for one in candidates]
            for name, candidates in found.items()
        }


@pytest.fixture
def looking(tmp_path: Path) -> Looking:
    return Looking(tmp_path)


def test_what_is_a_model_and_what_is_none(looking: Looking) -> None:
    for name in ("b.topwork", "a.topwork", "deep/er/c.topwork", "v/1.topwork", "v/10.topwork", "v/9.topwork"):
        looking.put(name)
    for name in (".hidden.topwork", ".git/d.topwork", "e.txt", "topwork", "f.topwork.part", "7.topwork"):
        looking.put(name)
    (looking.folder / "g.topwork").mkdir()
    assert looking.look() == {
        "7": ["7.topwork"],
        "a": ["a.topwork"],
        "b": ["b.topwork"],
        "c": ["deep/er/c.topwork"],
        "v": ["v/10.topwork", "v/9.topwork", "v/1.topwork"],
    }


def test_a_file_counts_once_it_has_been_at_rest(looking: Looking) -> None:
    looking.put("a.topwork")
    assert looking.look() == {"a": ["a.topwork"]}, "at the first look all files are at rest"
    path = looking.put("b.topwork", "1")
    assert looking.look(1.0) == {"a": ["a.topwork"], "b": []}
    path.write_text("12")
    assert looking.look(1.5)["b"] == [], "it has grown since"
    assert looking.look(1.5)["b"] == []
    assert looking.look(0.5)["b"] == ["b.topwork"]


def test_another_file_of_the_same_path_must_come_to_rest_again(looking: Looking) -> None:
    looking.put("a.topwork", "old")
    looking.look()
    looking.put("new", "new").replace(looking.folder / "a.topwork")
    assert looking.look(10.0) == {"a": []}
    assert looking.look(REST_S) == {"a": ["a.topwork"]}


def test_a_file_that_goes_is_gone(looking: Looking) -> None:
    looking.put("v/1.topwork")
    path = looking.put("v/2.topwork")
    assert looking.look()["v"] == ["v/2.topwork", "v/1.topwork"]
    path.unlink()
    assert looking.look() == {"v": ["v/1.topwork"]}


def test_a_refused_file_is_left_alone_and_noted_once(
    looking: Looking, caplog: pytest.LogCaptureFixture
) -> None:
    looking.put("v/1.topwork")
    looking.put("v/2.topwork")
    best = looking.directory.look(looking.folder, REST_S)["v"][0]
    looking.directory.refuse(best, BundleError("It is damaged.", next_step="Fit it anew."))
    for _ in range(3):
        assert looking.look(10.0)["v"] == ["v/1.topwork"]
    assert caplog.text.count("2.topwork is not served. It is damaged.") == 1
    assert "Traceback" not in caplog.text
    looking.put("new").replace(best.path)
    looking.look(1.0)
    assert looking.look(REST_S)["v"] == ["v/2.topwork", "v/1.topwork"], "another file has a chance of its own"
    looking.directory.refuse(looking.directory.look(looking.folder, REST_S)["v"][0], KeyError("x"))
    assert "Traceback" in caplog.text or "KeyError" in caplog.text
    looking.directory.forgive()
    assert looking.look()["v"] == ["v/2.topwork", "v/1.topwork"]


def test_what_an_operator_set_aside_stays_aside(looking: Looking) -> None:
    looking.put("v/1.topwork")
    looking.put("v/2.topwork")
    best = looking.directory.look(looking.folder, REST_S)["v"][0]
    looking.directory.set_aside(best.key)
    looking.directory.forgive()
    assert looking.look()["v"] == ["v/1.topwork"]
    looking.directory.take_back(best.key)
    assert looking.look()["v"] == ["v/2.topwork", "v/1.topwork"]


def test_a_folder_that_is_not_there_is_told(looking: Looking) -> None:
    looking.put("a.topwork")
    with pytest.raises(UsageError, match="There is no folder"):
        looking.directory.look(looking.folder / "none", REST_S)
    with pytest.raises(UsageError, match="There is no folder"):
        looking.directory.look(looking.folder / "a.topwork", REST_S)


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_a_link_that_leads_nowhere_is_no_model(looking: Looking) -> None:
    (looking.folder / "a.topwork").symlink_to(looking.folder / "none")
    assert looking.look() == {}
