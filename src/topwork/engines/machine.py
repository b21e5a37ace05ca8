"""What the machine at hand has: cores, instructions, memory, engines. It knows nothing of what is run on it.

A container's share counts, not the machine around it: the affinity mask and the quotas of control groups
are respected where the system has them.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from topwork.errors import UsageError

__all__ = [
    "DeviceName",
    "Machine",
    "installed",
    "limited_to",
    "processor_mark",
    "require_share",
    "shared",
    "survey",
]

DeviceName = Literal["auto", "cpu", "cuda"]
"""Where to compute; ``auto`` leaves it to topwork."""

_ENGINES = ("openvino", "onnxruntime", "torch")


@dataclass(frozen=True, slots=True)
class Machine:
    """What engines are chosen by.

    Attributes
    ----------
    n_cores
        Cores that this process may keep busy, at least 1.
    cpu_flags
        Names of instruction sets as Linux has them; empty where the system does not tell.
    memory_bytes
        Memory that this process may fill; 0 where the system does not tell.
    engines
        Which of openvino, onnxruntime and torch are installed.
    has_cuda, has_cuda_bf16
        Whether torch can use a GPU, and whether that computes in bf16.
    """

    n_cores: int
    cpu_flags: frozenset[str]
    memory_bytes: int
    engines: frozenset[str]
    has_cuda: bool = False
    has_cuda_bf16: bool = False


def survey(root: Path = Path("/")) -> Machine:
    """Look at this machine; a few milliseconds, and torch is imported only where a GPU's driver is.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are looked for.
    """
    engines = installed()
    has_cuda, has_bf16 = _cuda() if "torch" in engines and _has_driver(root) else (False, False)
    return Machine(
        n_cores=_n_cores(root),
        cpu_flags=_cpu_flags(root),
        memory_bytes=_memory_bytes(root),
        engines=engines,
        has_cuda=has_cuda,
        has_cuda_bf16=has_bf16,
    )


def installed() -> frozenset[str]:
    """Return which engines are installed; none is imported."""
    return frozenset(name for name in _ENGINES if find_spec(name) is not None)


def limited_to(machine: Machine, device: DeviceName) -> Machine:
    """Return the machine without its GPU where that is to be left alone.

    Raises
    ------
    UsageError
        A GPU is asked for, and torch sees none.
    """
    if device == "cuda" and not machine.has_cuda:
        raise UsageError(
            "The device cuda was asked for, and torch sees no GPU here.",
            next_step="Leave the device to topwork, or install a torch that is built for this GPU's driver.",
        )
    return replace(machine, has_cuda=False, has_cuda_bf16=False) if device == "cpu" else machine


def processor_mark(root: Path = Path("/")) -> str:
    """Return a short text that differs where processors do, by their instruction sets."""
    flags = " ".join((platform.machine(), *sorted(_cpu_flags(root))))
    return hashlib.sha256(flags.encode()).hexdigest()[:12]


def shared(machine: Machine, n_cores: int | None) -> Machine:
    """Return the machine as one sees it who may keep so many of its cores busy; None for all of them."""
    return machine if n_cores is None else replace(machine, n_cores=max(1, min(machine.n_cores, n_cores)))


def require_share(n_threads: int, n_streams: int) -> None:
    """Refuse a share of the machine that no engine can work with.

    Raises
    ------
    UsageError
        Either is below 1.
    """
    if n_threads < 1 or n_streams < 1:
        raise UsageError(
            f"An engine was asked for with {n_threads} threads and {n_streams} streams; expected at least 1 of each.",
            next_step="Give the number of cores as n_threads, and 1 to as many as n_streams.",
        )


def _n_cores(root: Path) -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _cpu_quotas(root))]))


def _cpu_quotas(root: Path) -> list[float]:
    """Return the limits in cores that control groups of version 2 and 1 set."""
    quotas = []
    for folder in _control_groups(root):
        limit, _, period = _text(folder / "cpu.max").partition(" ")
        quotas += _ratio(limit, period)
    old = root / "sys/fs/cgroup/cpu"
    return quotas + _ratio(_text(old / "cpu.cfs_quota_us"), _text(old / "cpu.cfs_period_us"))


def _ratio(limit: str, period: str) -> list[float]:
    # "max" (version 2) and "-1" (version 1) stand for no limit.
    if limit.isdecimal() and period.isdecimal() and int(period) > 0:
        return [int(limit) / int(period)]
    return []


def _memory_bytes(root: Path) -> int:
    total = [
        int(line.split()[1]) * 1024 for line in _lines(root / "proc/meminfo") if line.startswith("MemTotal:")
    ]
    limits = [_text(folder / "memory.max") for folder in _control_groups(root)]
    limits.append(_text(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return min([*total, *(int(limit) for limit in limits if limit.isdecimal())], default=0)


def _control_groups(root: Path) -> list[Path]:
    """Return the folders of this process's control group of version 2 and of those around it."""
    top = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        if line.startswith("0::"):
            own = top / line.removeprefix("0::").strip("/")
            return [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return [top]


def _cpu_flags(root: Path) -> frozenset[str]:
    for line in _lines(root / "proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip().lower() in {"flags", "features"}:
            return frozenset(value.split())
    return frozenset()


def _has_driver(root: Path) -> bool:
    # Importing torch only to hear that there is no GPU would cost every command more than a second.
    return (root / "dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None


def _cuda() -> tuple[bool, bool]:
    import torch

    if not torch.cuda.is_available():
        return False, False
    return True, torch.cuda.is_bf16_supported(including_emulation=False)


def _lines(path: Path) -> list[str]:
    return _text(path).splitlines()


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""
