"""Rows are kept once, whatever ends the process: cut anywhere, the journal goes on with the row after the last."""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from topwork.errors import StorageError, UsageError
from topwork.steps.journal import Journal, JournalPaths, Mark, begin, is_begun, resume

ORDER = {"input": "a.csv", "targets": ["x", "y"]}


def work(journal: Journal, until: int, *, every: int = 3) -> None:
    """Do rows up to a number, each fifth of which fails, and keep them ``every`` few."""
    for number in range(journal.mark.n_rows + 1, until + 1):
        journal.add(f"row {number}\n".encode(), failed=number % 5 == 0)
        if journal.n_waiting == every:
            journal.commit()


def finish(journal: Journal, out: Path) -> None:
    journal.end(lambda rows: shutil.move(rows, out), out, out.with_name("failed"))
    journal.close()


def expected(n: int, *, failed: bool) -> str:
    return "".join(f"row {i}\n" for i in range(1, n + 1) if (i % 5 == 0) == failed)


def assert_done(out: Path, n: int) -> None:
    assert out.read_text() == expected(n, failed=False)
    assert out.with_name("failed").read_text() == expected(n, failed=True)
    assert {path.name for path in out.parent.iterdir()} == {out.name, "failed"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "work" / "out.jsonl"


def test_work_that_is_not_disturbed(out: Path) -> None:
    journal = begin(out, ORDER)
    work(journal, 20)
    finish(journal, out)
    assert_done(out, 20)


def test_rows_that_were_not_kept_are_worked_on_again(out: Path) -> None:
    with closing(begin(out, ORDER)) as journal:
        work(journal, 11)
    assert is_begun(out)
    journal = resume(out, ORDER)
    assert journal.mark.n_rows == 9
    work(journal, 20)
    finish(journal, out)
    assert_done(out, 20)


def test_whatever_part_of_the_files_is_on_the_disk_nothing_is_lost_or_twice(out: Path) -> None:
    """A kill may leave any of what was written after the last line of the journal, and a part of that line."""
    with closing(begin(out, ORDER)) as journal:
        work(journal, 12)
        kept = JournalPaths.beside(out).journal.read_bytes()
        work(journal, 15)
    whole = {path: path.read_bytes() for path in out.parent.iterdir()}
    last = whole[JournalPaths.beside(out).journal][len(kept) :]
    rng, counts = random.Random(0), set()
    for cut in range(len(last) + 1):
        for path, content in whole.items():
            path.write_bytes(content + rng.randbytes(rng.randrange(50)))
        JournalPaths.beside(out).journal.write_bytes(kept + last[:cut])
        journal = resume(out, ORDER)
        counts.add(journal.mark.n_rows)
        work(journal, 20)
        finish(journal, out)
        assert_done(out, 20)
        out.unlink()
        out.with_name("failed").unlink()
    assert counts == {12, 15}


def test_what_stands_behind_the_last_mark_is_cut_off_also_where_nothing_follows(out: Path) -> None:
    with closing(begin(out, ORDER)) as journal:
        work(journal, 12)
    paths = JournalPaths.beside(out)
    for path in (paths.good, paths.bad):
        path.write_bytes(path.read_bytes() + b"row 13\nrow")
    finish(resume(out, ORDER), out)
    assert_done(out, 12)


def test_an_end_that_was_broken_off_is_made_again(out: Path) -> None:
    journal = begin(out, ORDER)
    work(journal, 20)

    def fail(rows: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="the disk is full"):
        journal.end(fail, out, out.with_name("failed"))
    journal.close()
    journal = resume(out, ORDER)
    assert journal.mark.over
    finish(journal, out)
    assert_done(out, 20)


@pytest.mark.parametrize("n_steps", [0, 1, 2])
def test_an_end_may_be_broken_off_between_any_two_files(out: Path, n_steps: int) -> None:
    with closing(begin(out, ORDER)) as journal:
        work(journal, 20)
        journal.commit(over=True)
    paths = JournalPaths.beside(out)
    for before, after in [(paths.bad, out.with_name("failed")), (paths.good, out)][:n_steps]:
        before.rename(after)
    finish(resume(out, ORDER), out)
    assert_done(out, 20)


def test_a_kill_before_the_first_line(out: Path) -> None:
    for content in (b"", b'{"format": "topw'):
        out.parent.mkdir(exist_ok=True)
        JournalPaths.beside(out).journal.write_bytes(content)
        journal = resume(out, ORDER)
        assert journal.mark == Mark()
        work(journal, 20)
        finish(journal, out)
        assert_done(out, 20)
        out.unlink()
        out.with_name("failed").unlink()


def test_other_work_is_refused(out: Path) -> None:
    with closing(begin(out, ORDER)) as journal:
        work(journal, 12)
    with pytest.raises(UsageError, match=r"input was 'a\.csv', and is 'b\.csv'"):
        resume(out, {**ORDER, "input": "b.csv"})
    with pytest.raises(UsageError, match="There is unfinished work"):
        begin(out, ORDER)
    with closing(resume(out, ORDER)) as journal:
        assert journal.mark.n_rows == 12


def test_one_process_at_a_time(out: Path) -> None:
    with closing(begin(out, ORDER)), pytest.raises(UsageError, match="Another process works on"):
        resume(out, ORDER)


def test_files_that_somebody_cut_are_noticed(out: Path) -> None:
    with closing(begin(out, ORDER)) as journal:
        work(journal, 12)
    JournalPaths.beside(out).good.write_bytes(b"")
    with pytest.raises(UsageError, match="were kept in it"):
        resume(out, ORDER)


def test_what_could_not_be_kept_is_kept_later(out: Path) -> None:
    journal = begin(out, ORDER)
    work(journal, 12)
    paths = JournalPaths.beside(out)
    moved = paths.good.rename(out.with_name("moved"))
    journal.add(b"row 13\n")
    with pytest.raises(StorageError):
        journal.commit()
    moved.rename(paths.good)
    assert journal.mark.n_rows == 12
    journal.commit()
    assert journal.mark.n_rows == 13
    work(journal, 20)
    finish(journal, out)
    assert_done(out, 20)
