"""``python -m benchmarks [NAME ...]``: run benchmarks and rewrite their sections of ``RESULTS.md``."""

from __future__ import annotations

import argparse
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.place import Place, user_cache
from benchmarks.results import MOST_BY_OTHERS, RESULTS, Section, Watch, rewrite

NAMES = (
    "starting",
    "chess",
    "serve_ready",
    "serve_overhead",
    "serve_queue",
    "serve_overload",
    "serve_replicas",
    "serve_soak",
    "serve_peers",
    "extraction",
    "memory",
    "reviews",
    "decoding",
    "finetuning",
    "stories",
    "chatting",
    "ladder",
    "peers",
    "hotdogs",
    "epoch",
    "estimates",
    "cut",
    "imdb",
    "fewshot",
    "fewshot_imdb",
    "trunk_ranking",
    "recipes",
)


def main() -> None:
    """Run what the command line names, and tell which promises were kept."""
    chosen = _parser().parse_args()
    cache = Path(chosen.cache) if chosen.cache else user_cache()
    cache.mkdir(parents=True, exist_ok=True)
    sections = [_run(name, cache, chosen) for name in chosen.names or NAMES]
    missed = [goal for section in sections for goal in section.goals if not goal.is_met]
    print("\n".join(goal.shown() for goal in missed) if missed else "Every promise was kept.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", type=_name, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="few runs, nothing is written")
    parser.add_argument("--anyway", action="store_true", help="write also when the machine was not idle")
    parser.add_argument("--cache", help="folder for photos and weights; by default the user's own")
    parser.add_argument("--hotdog", metavar="FILE", type=Path, help="archive of the hot-dog photos")
    parser.add_argument("--seeds", metavar="N", type=int, default=5, help="splits of the training benchmarks")
    parser.add_argument("--soak-s", metavar="N", type=float, default=120, help="seconds of serve_soak")
    parser.add_argument("--shots", metavar="N", type=int, nargs="+", default=[8, 16, 64], help="of fewshot")
    parser.add_argument("--draws", metavar="N", type=int, default=20, help="of fewshot")
    return parser


def _place(cache: Path, temporary: Path, chosen: argparse.Namespace) -> Place:
    return Place(
        cache=cache,
        temporary=temporary,
        is_quick=chosen.quick,
        hotdog=chosen.hotdog,
        n_seeds=chosen.seeds,
        soak_s=chosen.soak_s,
        shots=tuple(chosen.shots),
        n_draws=chosen.draws,
    )


def _name(word: str) -> str:
    if word not in NAMES:
        raise argparse.ArgumentTypeError(f"{word!r} is no benchmark; there are {', '.join(NAMES)}")
    return word


def _run(name: str, cache: Path, chosen: argparse.Namespace) -> Section:
    print(f"--- {name}", flush=True)
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="topwork-benchmark-") as temporary:
        measure = import_module(f"benchmarks.{name}").measure
        section: Section = measure(_place(cache, Path(temporary), chosen))
    seen = watch.seen()
    print(f"\n{section.markdown()}\n\n{seen.shown()}")
    if chosen.quick:
        print("Nothing is written of a quick run.\n", flush=True)
    elif seen.was_idle or chosen.anyway:
        rewrite(section, seen, f"python -m benchmarks {name}")
        print(f"Written to {RESULTS}.\n", flush=True)
    else:
        print(f"Not written: others used more than {MOST_BY_OTHERS} cores. Run it again, or with --anyway.\n")
    return section


if __name__ == "__main__":
    main()
