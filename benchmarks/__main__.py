"""``python -m benchmarks [NAME ...]``: run benchmarks and rewrite their sections of ``RESULTS.md``."""

from __future__ import annotations

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.place import Place, user_cache
from benchmarks.results import RESULTS, Section, Watch, rewrite

NAMES = ("starting", "chess", "serve_ready", "extraction", "memory")


def main() -> None:
    """Run what the command line names, and tell which promises were kept."""
    chosen = _parser().parse_args()
    cache = Path(chosen.cache) if chosen.cache else user_cache()
    cache.mkdir(parents=True, exist_ok=True)
    sections = [_run(name, cache, is_quick=chosen.quick) for name in chosen.names or NAMES]
    missed = [goal for section in sections for goal in section.goals if not goal.is_met]
    print("\n".join(goal.shown() for goal in missed) if missed else "Every promise was kept.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", type=_name, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="few runs, nothing is written")
    parser.add_argument("--cache", help="folder for photos and weights; by default the user's own")
    return parser


def _name(word: str) -> str:
    if word not in NAMES:
        raise argparse.ArgumentTypeError(f"{word!r} is no benchmark; there are {', '.join(NAMES)}")
    return word


def _run(name: str, cache: Path, *, is_quick: bool) -> Section:
    print(f"--- {name}", flush=True)
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="topwork-benchmark-") as temporary:
        measure = import_module(f"benchmarks.{name}").measure
        section: Section = measure(Place(cache, Path(temporary), is_quick))
    when = watch.report()
    print(f"\n{section.markdown()}\n\n{when}\n", flush=True)
    if not is_quick:
        rewrite(section, when, f"python -m benchmarks {name}")
        print(f"Written to {RESULTS}.\n")
    return section


if __name__ == "__main__":
    main()
