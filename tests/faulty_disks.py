"""Small disks in memory, mounted and made read-only where this process may do so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def mount(place: Path, size: str) -> None:
    """Mount a disk of so many bytes (``200k``); skip the test where that is not allowed."""
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))


def unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def make_read_only(disk: Path) -> None:
    """Make a mounted disk read-only."""
    _call("mount", "-o", "remount,ro", str(disk))


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
