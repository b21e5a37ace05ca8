"""The pages in docs/ speak of what is there: rooms, files, names, commands, options and links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from markdown_blocks import ROOT, blocks_of, prose_of
from topwork import errors, plugins
from topwork.cli.app import app
from topwork.recipes.probe import ProbeSettings

DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "topwork"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def rooms() -> list[str]:
    return re.findall(r"^\| \d \| `(\w+)` \|", read("house.md"), re.M)


def page_of_room() -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| \[[^]]*\]\(([^)]*)\) \|", read("index.md"), re.M))


# --- rooms and files ------------------------------------------------------------------------------------


def test_every_room_has_its_page() -> None:
    assert sorted(page_of_room()) == sorted(rooms())
    assert len(rooms()) >= 18


@pytest.mark.parametrize(("room", "page"), page_of_room().items())
def test_a_page_speaks_of_its_room(room: str, page: str) -> None:
    file, _, heading = page.partition("#")
    assert heading or Path(file).stem == room
    assert any(room in slug(title) for title in titles(DOCS / file))


def test_every_page_is_in_the_contents() -> None:
    linked = {target.partition("#")[0] for _, target in links(DOCS / "index.md")}
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize("room", [room for room in rooms() if (PACKAGE / room).is_dir()])
def test_a_page_names_every_module_of_its_room(room: str) -> None:
    named = set(
        re.findall(r"`(?:\w+/)*(\w+)(?:\.py)?`", prose_of(DOCS / page_of_room()[room].partition("#")[0]))
    )
    assert {path.stem for path in (PACKAGE / room).rglob("*.py")} - {"__init__"} - named == set()


def test_files_that_pages_name_are_there() -> None:
    there = [f"/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("[!.]*/**/*.py")]
    seen, gone = 0, []
    for page in PAGES:
        built = [f"/{block.file}" for block in blocks_of(page) if block.file]
        for name in re.findall(r"`((?:\w+/)*\w+\.py)`", prose_of(page)):
            seen += 1
            if not any(path.endswith(f"/{name}") for path in [*there, *built]):
                gone.append(f"{page.name}: {name}")
    assert not gone
    assert seen >= 50, f"only {seen} files were looked at"


# --- links ----------------------------------------------------------------------------------------------


def links(page: Path) -> Iterator[tuple[str, str]]:
    yield from re.findall(r"\[([^]\n]*)\]\(([^)\s]+)\)", prose_of(page))


def titles(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose_of(page), re.M)


def slug(title: str) -> str:
    """Return the anchor that Git hosts give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_links_lead_somewhere() -> None:
    seen, broken = 0, []
    for page in PAGES:
        for _, target in links(page):
            if "://" in target:
                continue
            seen += 1
            file, _, anchor = target.partition("#")
            to = page.parent / file if file else page
            if not to.exists() or (anchor and anchor not in map(slug, titles(to))):
                broken.append(f"{page.name}: {target}")
    assert not broken
    assert seen >= 40, f"only {seen} links were looked at"


# --- code in blocks -------------------------------------------------------------------------------------


def test_python_in_the_pages_compiles_and_imports_what_is_there() -> None:
    seen = 0
    for page in PAGES:
        for block in blocks_of(page):
            if block.language != "python":
                continue
            for node in ast.walk(ast.parse(block.text, page.name)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("topwork."):
                    seen += len(node.names)
                    missing = [
                        a.name for a in node.names if not hasattr(import_module(node.module or ""), a.name)
                    ]
                    assert not missing, f"{page.name}: {node.module} has no {missing}"
    assert seen >= 10, f"only {seen} names were looked at"


# --- the command line -----------------------------------------------------------------------------------


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def listed(text: str, title: str) -> list[str]:
    """Return the first words of the lines below a title of a help text."""
    _, _, rest = text.partition(f"{title}:\n")
    return re.findall(r"^  (\S+)", rest.partition("\n\n")[0], re.M)


def commands() -> Iterator[tuple[str, ...]]:
    for name in listed(help_of(), "Commands"):
        below = listed(help_of(name), "Commands")
        yield from ((name, noun) for noun in below)
        if not below:
            yield (name,)


def options(command: tuple[str, ...]) -> set[str]:
    """Return the options of a command as its help lists them, and the short forms beside them."""
    _, _, rest = help_of(*command).partition("Options:\n")
    lines = re.findall(r"^  (-[^\n]*)", rest, re.M)
    return {word for line in lines for word in OPTION.findall(line.split("  ")[0])} - {"--help"}


def documented() -> dict[tuple[str, ...], set[str]]:
    """Return the options in the tables of cli.md, by command."""
    found = {}
    for section in re.split(r"^## ", read("cli.md"), flags=re.M)[1:]:
        if heading := re.match(r"`topwork ([a-z -]+?)(?: [A-Z. ]+)?`", section):
            cells = re.findall(r"^\| (`-[^|]*)\|", section, re.M)
            found[tuple(heading[1].split())] = {word for cell in cells for word in OPTION.findall(cell)}
    return found


def test_every_command_has_its_section() -> None:
    assert set(documented()) == set(commands())
    assert len(documented()) >= 10


@pytest.mark.parametrize("command", documented(), ids=" ".join)
def test_a_section_has_the_options_that_help_lists(command: tuple[str, ...]) -> None:
    assert documented()[command] == options(command)


def test_commands_in_the_pages_are_commands_with_their_options() -> None:
    known, seen = {command: options(command) | {"--help"} for command in commands()}, 0
    for block in (block for page in PAGES for block in blocks_of(page)):
        for line in re.findall(r"^topwork (.+)$", block.text, re.M):
            words = line.partition("#")[0].split()
            command = next(c for c in known if tuple(words[: len(c)]) == c)
            assert {w for w in words if w.startswith("-") and len(w) > 1} <= known[command], line
            seen += 1
    assert seen >= 8, f"only {seen} commands were looked at"


# --- tables that repeat what the code says --------------------------------------------------------------


def test_the_groups_of_plugins_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `topwork\.(\w+)` \| `\w+` \| (.+) \|$", read("plugins.md"), re.M)
    assert {kind: tuple(re.findall(r"`(\w+)`", names)) for kind, names in rows} == dict(plugins.GROUPS)


def test_the_errors_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+Error)` \| `(\w+)` \|", read("foundations.md"), re.M))
    assert set(rows) == set(errors.__all__) - {"TopworkError"}
    for name, stands_for in rows.items():
        assert stands_for in {base.__name__ for base in getattr(errors, name).__mro__}


@pytest.mark.parametrize("kind", ["recipes", "tasks"])
def test_every_built_in_has_a_row(kind: str) -> None:
    ours = {name for name, one in plugins.discover(kind).items() if one.package == "topwork"}
    assert set(re.findall(r"^\| `([\w-]+)` \| `\w+\.py` \|", read(f"{kind}.md"), re.M)) == ours


def test_settings_that_a_page_names_are_there() -> None:
    named = re.findall(r"`ProbeSettings\.(\w+)`", read("recipes.md"))
    assert named
    assert set(named) <= {field.name for field in fields(ProbeSettings)}
