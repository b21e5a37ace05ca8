"""The house stands: every import in the package runs downhill, by the table in docs/house.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "topwork"
OUTSIDE = {"__init__", "__main__"}
"""Files that stand in no room."""


def floors() -> dict[str, int]:
    rows = re.findall(
        r"^\| (\d) \| `(\w+)` \|", (ROOT / "docs" / "house.md").read_text(encoding="utf-8"), re.M
    )
    return {room: int(floor) for floor, room in rows}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the package's modules that a file imports, at the top, in functions, or relatively."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "topwork")
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            if full == "topwork":
                yield from (f"topwork.{a.name}" for a in node.names)
            elif full.split(".")[0] == "topwork":
                yield full


def uphill(files: Iterator[tuple[str, ast.AST, bool]], table: dict[str, int]) -> tuple[list[str], int]:
    """Return the imports that break the rule, and how many were looked at."""
    wrong, seen = [], 0
    for module, tree, is_package in files:
        room = room_of(module)
        for target in imported(tree, module, is_package=is_package):
            seen += 1
            other = room_of(target)
            if other == room or target == "topwork.__version__":
                continue
            if other not in table:
                wrong.append(f"{module} imports {target}, which stands in no room")
            elif table[other] >= table[room]:
                wrong.append(f"{module} (floor {table[room]}) imports {target} (floor {table[other]})")
    return wrong, seen


def package_files() -> Iterator[tuple[str, ast.AST, bool]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent == PACKAGE and path.stem in OUTSIDE:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield (
            ".".join(parts[:-1] if is_package else parts),
            ast.parse(path.read_text(encoding="utf-8")),
            is_package,
        )


def test_every_room_stands_on_a_floor() -> None:
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and any(p.glob("*.py")))}
    assert rooms - OUTSIDE == set(floors())


def test_imports_run_downhill() -> None:
    wrong, seen = uphill(package_files(), floors())
    assert not wrong, "\n".join(wrong)
    assert seen >= 100, f"only {seen} imports were looked at"


def test_the_check_sees_an_import_that_runs_uphill() -> None:
    sources = {
        "topwork.data.split": "def f():\n    from topwork.verbs import fit\n",
        "topwork.tasks.other": "from topwork import trunks\n",
        "topwork.inputs.image": "from ..bundle import archive\nfrom topwork import __version__\n",
    }
    wrong, seen = uphill(iter([(m, ast.parse(s), False) for m, s in sources.items()]), floors())
    assert (len(wrong), seen) == (3, 4)
