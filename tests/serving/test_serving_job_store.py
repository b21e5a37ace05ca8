"""Jobs on the disk: what was told is there, an end comes once, what has expired is gone, a bad file says so."""

from __future__ import annotations

import random
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from doors import Clock
from topwork.errors import StorageError, UsageError
from topwork.serving.http.refusals import Refusal
from topwork.serving.jobs.batches import BATCH_TYPE
from topwork.serving.jobs.progress import Progress
from topwork.serving.jobs.records import Bounds, Ending, NewJob, Status, Wanted
from topwork.serving.jobs.store import JobStore

BOUNDS = Bounds(max_jobs=5, max_bytes=1000, keep_s=100.0)
DONE = Ending("done", b'{"predictions":[]}')


@contextmanager
def opened(path: Path, clock: Clock | None = None) -> Iterator[JobStore]:
    with closing(JobStore(path, now=clock or Clock())) as store:
        yield store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


def wanted(body: bytes = b"abc", owner: str = "tw_1", model: str = "chess", **rest: str) -> NewJob:
    return NewJob(owner, model, "text/plain", body, 1, rest.get("hook"), rest.get("repeat"))


def status_of(store: JobStore, name: str) -> Status:
    found = store.find(name, "tw_1")
    assert found is not None
    return found.status


def test_a_job_goes_from_the_line_to_its_end(path: Path) -> None:
    clock = Clock()
    clock.now_s = 7.0
    with opened(path, clock) as store:
        made = store.make(wanted(), BOUNDS)
        assert (made.status, made.created_s, made.answer) == ("queued", 7.0, None)
        assert store.models() == ["chess"]
        taken = store.take("chess")
        assert taken is not None
        assert (taken.id, taken.content_type, taken.body) == (made.id, "text/plain", b"abc")
        assert store.take("chess") is None
        assert status_of(store, made.id) == "running"
        clock.now_s = 9.0
        assert store.finish(made.id, DONE, BOUNDS)
        found = store.find(made.id, "tw_1")
        assert found is not None
        assert (found.status, found.ended_s, found.answer) == ("done", 9.0, DONE.answer)
        assert store.tally.by_status == {"done": 1}
        assert store.tally.n_bytes == len(DONE.answer), "the body is not needed any more"


def test_an_end_comes_once(path: Path) -> None:
    with opened(path) as store:
        made = store.make(wanted(), BOUNDS)
        assert not store.finish(made.id, DONE, BOUNDS), "it is not running yet"
        store.take("chess")
        assert store.finish(made.id, DONE, BOUNDS)
        assert not store.finish(made.id, Ending("failed", b"{}"), BOUNDS)
        assert status_of(store, made.id) == "done"


def test_the_first_that_came_is_taken_first_of_its_model(path: Path) -> None:
    with opened(path) as store:
        names = [store.make(wanted(model=model), BOUNDS).id for model in ("a", "b", "a")]
        taken = [store.take(model) for model in ("a", "b", "a", "b")]
        assert [one and one.id for one in taken] == [names[0], names[1], names[2], None]


def test_a_job_is_its_owners(path: Path) -> None:
    with opened(path) as store:
        made = store.make(wanted(owner="tw_1"), BOUNDS)
        assert store.find(made.id, "tw_2") is None
        assert store.remove(made.id, "tw_2") is None
        assert store.find(made.id, "tw_1") is not None
        assert store.remove(made.id, "tw_1") is not None
        assert store.find(made.id, "tw_1") is None


def test_a_killed_process_leaves_its_jobs_in_line(path: Path) -> None:
    with opened(path) as store:
        made = store.make(wanted(), BOUNDS)
        store.take("chess")
    with opened(path) as store:
        assert status_of(store, made.id) == "queued"
        again = store.take("chess")
        assert again is not None
        assert again.body == b"abc"


def test_a_job_that_ends_the_process_is_given_up(path: Path) -> None:
    with opened(path) as store:
        made = store.make(wanted(), BOUNDS)
        store.take("chess")
    for _ in range(2):
        with opened(path) as store:
            assert status_of(store, made.id) == "queued"
            store.take("chess")
    with opened(path) as store:
        found = store.find(made.id, "tw_1")
        assert found is not None
        assert found.status == "failed"
        assert b"The server ended 3 times" in (found.answer or b"")


def test_an_end_in_order_is_no_attempt(path: Path) -> None:
    with opened(path) as store:
        made = store.make(wanted(), BOUNDS)
    for _ in range(5):
        with opened(path) as store:
            assert store.take("chess") is not None
            store.give_back()
    with opened(path) as store:
        assert status_of(store, made.id) == "queued"


# --- turns, and how far ---------------------------------------------------------------------------------


def test_owners_have_turns(path: Path) -> None:
    """One with many jobs in line does not hold up another, who comes later with a few."""
    with opened(path) as store:
        bounds = replace(BOUNDS, max_jobs=20)
        for owner in ("tw_many",) * 6 + ("tw_few",) * 2 + ("tw_one",):
            store.make(wanted(owner=owner), bounds)
        taken = [store.take("chess") for _ in range(9)]
        owners = [one.owner.removeprefix("tw_") for one in taken if one is not None]
        assert owners == ["many", "few", "one", "many", "few", "many", "many", "many", "many"]
        store.make(wanted(owner="tw_many"), bounds)
        store.make(wanted(owner="tw_few"), bounds)
        again = store.take("chess")
        assert again is not None
        assert again.owner == "tw_few", "whose last turn is the longest ago"


def test_so_many_of_one_owner_run(path: Path) -> None:
    with opened(path) as store:
        mine = [store.make(wanted(owner="tw_1"), BOUNDS) for _ in range(3)]
        other = store.make(wanted(owner="tw_2"), BOUNDS)
        taken = [store.take("chess", most=2) for _ in range(4)]
        assert [one and one.id for one in taken] == [mine[0].id, other.id, mine[1].id, None]
        store.finish(mine[0].id, DONE, BOUNDS)
        last = store.take("chess", most=2)
        assert last is not None
        assert last.id == mine[2].id


def test_files_are_a_line_of_their_own(path: Path) -> None:
    with opened(path) as store:
        files = store.make(replace(wanted(), content_type=BATCH_TYPE), BOUNDS)
        assert store.take("chess") is None
        taken = store.take("chess", "files")
        assert taken is not None
        assert taken.id == files.id


def test_how_far_a_job_was_is_kept(path: Path) -> None:
    with opened(path) as store:
        made = store.make(wanted(), BOUNDS)
        store.take("chess")
        store.note(made.id, Progress(90, 40, 2))
    with opened(path) as store:
        found = store.find(made.id, "tw_1")
        assert found is not None
        assert (found.status, found.progress) == ("queued", Progress(90, 40, 2))
        taken = store.take("chess")
        assert taken is not None
        assert taken.progress == Progress(90, 40, 2)
        store.finish(made.id, replace(DONE, progress=Progress(90, 90, 3)), BOUNDS)
        found = store.find(made.id, "tw_1")
        assert found is not None
        assert found.progress == Progress(90, 90, 3)


# --- a list ---------------------------------------------------------------------------------------------


def test_a_list_is_paged_from_the_newest_on(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as store:
        bounds, names = replace(BOUNDS, max_jobs=20), []
        for n in range(9):
            clock.now_s = float(n // 2)  # of two that are made at once each is shown once as well
            names.append(store.make(wanted(owner="tw_2" if n == 4 else "tw_1"), bounds).id)
        found: list[str] = []
        before = None
        for n_page in (3, 3, 2):
            page = store.page(Wanted("tw_1", before=before, most=3))
            assert len(page.jobs) == n_page
            found += [one.id for one in page.jobs]
            before = (page.jobs[-1].created_s, page.jobs[-1].id)
        assert not page.has_more
        assert sorted(found) == sorted({*names} - {names[4]})
        assert names.index(found[0]) > names.index(found[-1])
        store.take("chess")
        assert [one.id for one in store.page(Wanted("tw_1", "running")).jobs] == [names[0]]
        assert len(store.page(Wanted(None)).jobs) == 9


def test_a_file_of_the_first_version_is_taken_up(path: Path) -> None:
    with opened(path) as store:
        over, waits = (store.make(wanted(body), BOUNDS) for body in (b"a", b"b"))
        store.take("chess")
        store.finish(over.id, DONE, BOUNDS)
    with closing(sqlite3.connect(path)) as old:
        old.execute("DROP INDEX own")
        old.execute("ALTER TABLE jobs DROP COLUMN n_done")
        old.execute("ALTER TABLE jobs DROP COLUMN n_failed")
        old.execute("PRAGMA user_version=1")
        old.commit()
    for _ in range(2):
        with opened(path) as store:
            found = [store.find(one.id, "tw_1") for one in (over, waits)]
            assert [one and one.progress for one in found] == [Progress(1, 1), Progress(1, 0)]
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version=99")
        later.commit()
    with pytest.raises(UsageError, match="another program or version"):
        JobStore(path)


# --- bounds ---------------------------------------------------------------------------------------------


def test_no_more_jobs_are_kept_than_there_may_be(path: Path) -> None:
    with opened(path) as store:
        for _ in range(BOUNDS.max_jobs):
            made = store.make(wanted(), BOUNDS)
        with pytest.raises(Refusal, match="keeps 5 jobs") as caught:
            store.make(wanted(), BOUNDS)
        assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "60")
        store.remove(made.id, "tw_1")
        store.make(wanted(), BOUNDS)


def test_one_key_leaves_room_for_others(path: Path) -> None:
    bounds = replace(BOUNDS, max_jobs=4, key_share=0.5)
    with opened(path) as store:
        for _ in range(2):
            made = store.make(wanted(owner="tw_1"), bounds)
        with pytest.raises(
            Refusal, match="2 jobs of 6 bytes of the key tw_1; of one key it keeps at most 2"
        ) as caught:
            store.make(wanted(owner="tw_1"), bounds)
        assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "60")
        with pytest.raises(Refusal, match="500 bytes"):
            store.make(wanted(b"x" * 501, owner="tw_2"), bounds)
        store.make(wanted(owner="tw_2"), bounds)
        store.remove(made.id, "tw_1")
        store.make(wanted(owner="tw_1"), bounds)


def test_without_keys_nobody_has_a_share(path: Path) -> None:
    with opened(path) as store:
        for _ in range(4):
            store.make(wanted(owner=""), replace(BOUNDS, max_jobs=4, key_share=0.5))


def test_no_more_bytes_are_kept_than_there_may_be(path: Path) -> None:
    with opened(path) as store:
        store.make(wanted(b"x" * 600), BOUNDS)
        with pytest.raises(Refusal, match="of 600 bytes"):
            store.make(wanted(b"x" * 401), BOUNDS)
        small = store.make(wanted(b"x" * 400), BOUNDS)
        store.take("chess")
        store.take("chess")
        assert store.finish(small.id, Ending("done", b"y" * 401), BOUNDS)
        found = store.find(small.id, "tw_1")
        assert found is not None
        assert (found.status, b"no room" in (found.answer or b"")) == ("failed", True)


def test_what_has_expired_leaves_the_disk(path: Path) -> None:
    clock = Clock()
    secret = b"a text that nobody else should read"
    with opened(path, clock) as store:
        made, waits = store.make(wanted(secret), BOUNDS), store.make(wanted(b"b" + secret), BOUNDS)
        store.take("chess")
        clock.now_s = 50.0
        store.finish(made.id, Ending("done", b'"' + secret + b'"'), BOUNDS)
        clock.now_s = 99.0
        assert store.expire(100.0) == 0
        clock.now_s = 100.0
        assert store.expire(100.0) == 1
        found = store.find(waits.id, "tw_1")
        assert found is not None
        assert (found.status, b"waited for more than 100 s" in (found.answer or b"")) == ("failed", True)
        clock.now_s = 150.0
        assert store.expire(100.0) == 1
        assert store.find(made.id, "tw_1") is None
        files = [one for one in path.parent.iterdir() if one.name.startswith(path.name)]
        assert path in files
        assert not any(secret in one.read_bytes() for one in files)
        clock.now_s = 200.0
        assert store.expire(100.0) == 1
        assert store.tally.by_status == {}


# --- the same request again -----------------------------------------------------------------------------


def test_the_same_request_gives_the_same_job(path: Path) -> None:
    with opened(path) as store:
        first = store.make(wanted(repeat="k"), BOUNDS)
        assert store.make(wanted(repeat="k"), BOUNDS).id == first.id
        assert store.make(wanted(repeat="k", owner="tw_2"), BOUNDS).id != first.id
        assert store.make(wanted(repeat="other"), BOUNDS).id != first.id
        for other in (
            wanted(b"abd", repeat="k"),
            wanted(model="b", repeat="k"),
            wanted(hook="u", repeat="k"),
        ):
            with pytest.raises(Refusal) as caught:
                store.make(other, BOUNDS)
            assert caught.value.status == 409
    with opened(path) as store:
        assert store.make(wanted(repeat="k"), BOUNDS).id == first.id


# --- telling of ends ------------------------------------------------------------------------------------


def test_an_end_is_due_until_it_was_told(path: Path) -> None:
    clock = Clock()
    with opened(path, clock) as store:
        quiet, made = store.make(wanted(), BOUNDS), store.make(wanted(hook="https://a.example/x"), BOUNDS)
        for one in (quiet, made):
            store.take("chess")
            assert store.due(9) == []
            store.finish(one.id, DONE, BOUNDS)
        [due] = store.due(9)
        assert (due.id, due.url, due.status, due.tries) == (made.id, "https://a.example/x", "done", 0)
        assert store.next_due_s() == 0
        store.told(made.id, 10.0)
        assert store.due(9) == []
        assert store.next_due_s() == 10
        clock.now_s = 10.0
        assert [one.tries for one in store.due(9)] == [1]
        store.told(made.id, None)
        assert store.due(9) == []
        assert store.next_due_s() is None


# --- files ----------------------------------------------------------------------------------------------


def test_the_file_is_its_owners_alone(path: Path) -> None:
    with opened(path) as store:
        store.make(wanted(), BOUNDS)
        modes = {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
        assert modes == {0o600}


def test_one_process_has_it_at_a_time(path: Path) -> None:
    with opened(path), pytest.raises(UsageError, match=r"jobs\.sqlite is in use by another process"):
        JobStore(path)
    with opened(path):
        pass


@pytest.mark.parametrize("content", [b"this is no database, however long it may be" * 100, b"\0" * 4096])
def test_a_file_that_is_none_is_told_with_the_next_step(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises((StorageError, UsageError)) as caught:
        JobStore(path)
    assert str(path) in caught.value.problem
    assert caught.value.next_step
    assert path.read_bytes() == content, "nothing was changed"


def test_a_damaged_file_is_told(path: Path) -> None:
    with opened(path) as store:
        for _ in range(4):
            store.make(wanted(b"x" * 200), BOUNDS)
    content = bytearray(path.read_bytes())
    rng, told = random.Random(0), 0
    for _ in range(10):
        broken = content.copy()
        for at in range(4096, len(broken), 64):  # the first page says what the file is
            broken[at : at + 32] = rng.randbytes(32)
        path.write_bytes(broken)
        with pytest.raises(StorageError, match="is damaged") as caught:
            JobStore(path)
        assert str(path) in caught.value.problem
        assert "Move it away" in caught.value.next_step
        told += 1
    assert told == 10


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
    with pytest.raises(UsageError, match="of another program"):
        JobStore(path)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="Cannot write"):
        JobStore(tmp_path / "file" / "jobs.sqlite")
