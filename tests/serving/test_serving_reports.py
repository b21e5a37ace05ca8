"""Lines of a worker process's log on their way to the server."""

from __future__ import annotations

import json
import logging

import pytest

from topwork.serving.replicas.reports import NUMBER, Line, forwarded, noted
from topwork.serving.watching.logs import JsonLines


def test_what_topwork_logs_is_handed_on_and_nothing_is_written(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[int, Line]] = []
    with forwarded(lambda number, line: told.append((number, line))):
        logging.getLogger("topwork.one").info("said %d", 3)
        before = NUMBER.set(7)
        logging.getLogger("topwork").error("x" * 50_000)
        NUMBER.reset(before)
        logging.getLogger("topwork").debug("not this")
        logging.getLogger("other").warning("nor this")
    assert [(number, line.logger, line.level) for number, line in told] == [
        (0, "topwork.one", logging.INFO),
        (7, "topwork", logging.ERROR),
    ]
    assert told[0][1].message == "said 3"
    assert len(told[1][1].message) == 20_000
    assert [record.message for record in caplog.records] == ["nor this"]


def test_a_line_that_cannot_be_told_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def tell(number: int, line: Line) -> None:
        raise OSError("no room")

    with forwarded(tell):
        logging.getLogger("topwork").warning("lost")
    assert "no room" in capsys.readouterr().err


def test_a_line_travels() -> None:
    line = Line("topwork.serving", 30, "é\n", "Traceback")
    assert Line.decode(b"".join(line.encode())) == line


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"logger": "root", "level": 30, "message": "a"}',
        b'{"logger": "topwork", "level": "30", "message": "a"}',
        b'{"logger": "topwork", "level": 30, "message": 1}',
        b'{"logger": "topwork", "level": 30, "message": "a", "more": 1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_line_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"no line|Expecting|line 1"):
        Line.decode(content)


def test_it_is_written_with_the_number_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "topwork")
    noted(Line("topwork.x", logging.DEBUG, "too little"), None, 5)
    noted(Line("topwork.x", logging.WARNING, "100 %", "Traceback"), None, 5)
    [record] = caplog.records
    said = json.loads(JsonLines().format(record))
    assert (said["message"], said["process"], said["traceback"]) == ("100 %", 5, "Traceback")
    assert "Traceback" in logging.Formatter().format(record)
