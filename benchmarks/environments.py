"""Virtual environments for peers whose libraries do not belong into topwork's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import run

__all__ = ["interpreter"]


def interpreter(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with these packages, made where it is not there yet."""
    marker, wanted = folder / "requirements.txt", "\n".join(requirements)
    python = folder / "bin" / "python"
    if not marker.exists() or marker.read_text(encoding="utf-8") != wanted:
        print(f"Installing {', '.join(requirements)} into {folder}", file=sys.stderr, flush=True)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, *requirements])
        marker.write_text(wanted, encoding="utf-8")
    return python
