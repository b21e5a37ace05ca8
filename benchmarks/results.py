"""``RESULTS.md``: a section for each benchmark, and around its figures what they were measured on.

A section is found again by the comments around it, so that one benchmark can be run anew and the others stay.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Goal, Table
from benchmarks.processes import ROOT
from topwork.training.fingerprint import versions_of

__all__ = ["MOST_BY_OTHERS", "RESULTS", "Section", "Seen", "Watch", "rewrite"]

RESULTS = Path(__file__).with_name("RESULTS.md")
PICTURES = ROOT / "docs" / "pictures"
MOST_BY_OTHERS = 0.25
"""Cores that other processes may use before figures are not written."""

_PACKAGES = ("topwork", "openvino", "torch", "timm", "pillow", "numpy")


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark found: goals first, then tables, then what a reader must know of them.

    ``pictures`` are drawings as SVG by the name of their file.
    """

    name: str
    title: str
    goals: Sequence[Goal]
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return the section without its head."""
        goals = "\n".join(f"- {goal.shown()}" for goal in self.goals)
        notes = "\n".join(f"- {note}" for note in self.notes)
        tables = (table.markdown() for table in self.tables)
        pictures = (f"![{self.title}](../docs/{PICTURES.name}/{name})" for name in self.pictures)
        return "\n\n".join(part for part in (goals, *tables, *pictures, notes) if part)


@dataclass(frozen=True, slots=True)
class Seen:
    """How long a benchmark took, and how many cores others kept busy meanwhile; None where it is not told."""

    wall_s: float
    others_cores: float | None

    @property
    def was_idle(self) -> bool:
        """Whether the figures are those of the benchmark alone, as far as is known."""
        return self.others_cores is None or self.others_cores <= MOST_BY_OTHERS

    def shown(self) -> str:
        """Return one line, with the time of day."""
        took = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {self.wall_s:.0f} s"
        if self.others_cores is None:
            return f"{took}; whether the machine was idle otherwise is not known"
        return f"{took}; other processes used {self.others_cores:.2f} cores on average meanwhile"


class Watch:
    """Sees what `Seen` tells, from when it is made."""

    def __init__(self) -> None:
        self._began_s, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def seen(self) -> Seen:
        """Return what it saw; call it once the benchmark's processes have ended."""
        wall_s, busy_s = time.monotonic() - self._began_s, _busy_s()
        if self._busy_s is None or busy_s is None:
            return Seen(wall_s, None)
        others_s = busy_s - self._busy_s - (_own_s() - self._own_s)
        return Seen(wall_s, max(0.0, others_s / wall_s))


def _busy_s() -> float | None:
    """Return the seconds that all cores together have worked since the system began; None where it is not told."""
    with suppress(OSError, ValueError):
        line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        user, nice, system, _, _, irq, softirq, steal = (int(word) for word in line[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return None


def _own_s() -> float:
    """Return the seconds that this process and its ended children have worked."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def rewrite(
    section: Section, seen: Seen, command: str, path: Path = RESULTS, pictures: Path = PICTURES
) -> None:
    """Put a section in place of its predecessor, or at the end, and its pictures in their folder."""
    begin, end = f"<!-- {section.name} -->", f"<!-- /{section.name} -->"
    body = f"{begin}\n## {section.title}\n\n{_around(seen, command)}\n\n{section.markdown()}\n{end}\n"
    text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    found = re.compile(f"{re.escape(begin)}.*{re.escape(end)}\n", re.DOTALL)
    text = found.sub(lambda _: body, text) if found.search(text) else f"{text.rstrip()}\n\n{body}"
    path.write_text(text, encoding="utf-8")
    for name, svg in section.pictures.items():
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_text(svg, encoding="utf-8")


_HEAD = """# Results

Written by `python -m benchmarks`; do not edit by hand. `docs/benchmarks.md` says what is measured and how to
read it. Where there were several runs, a cell holds the median and in parentheses the smallest and largest.
"""


def _around(seen: Seen, command: str) -> str:
    return f"`{command}` on {_machine()}; {_versions()}. {seen.shown()}."


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    bf16 = "with" if re.search(r"\b(avx512_bf16|amx_bf16)\b", _text("/proc/cpuinfo")) else "without"
    memory = re.search(r"MemTotal:\s+(\d+)", _text("/proc/meminfo"))
    size = f", {int(memory[1]) / 2**20:.0f} GiB" if memory else ""
    return f"{_processor()} ({bf16} bf16), {cores} cores{size}, {platform.system()} {platform.machine()}"


def _processor() -> str:
    found = re.search(r"model name\s*: (.+)", _text("/proc/cpuinfo"))
    return found[1].strip() if found else platform.processor() or "unknown processor"


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def _versions() -> str:
    return f"Python {platform.python_version()}, {versions_of(_PACKAGES)}"
