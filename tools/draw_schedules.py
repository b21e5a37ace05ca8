"""Draw how learning rates go, from the functions that training calls, into docs/pictures/schedules.svg.

Run it when a schedule changes; a test compares the picture with what this draws.

Usage: python tools/draw_schedules.py [FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from math import ceil, log10
from pathlib import Path

from topwork.recipes.hyperrule import schedule_for
from topwork.training.schedules import exponential, one_cycle, stepped
from topwork.training.sweeping import SweepSettings

FILE = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "schedules.svg"
N_POINTS = 500
WIDTH, HEIGHT, LEFT, TOP, GAP = 200.0, 150.0, 56.0, 40.0, 52.0
LEAST_DECADES, MOST_DECADES, MOST_TICKS = 3, 12, 4
STYLE = (
    "text{fill:#444}.grid{stroke:#8884}.line{fill:none;stroke:#0b6e4f;stroke-width:2;stroke-linejoin:round}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}.line{stroke:#4cd6a5}}"
)


def panels() -> dict[str, Callable[[float], float]]:
    """Return each schedule by its title: the rate's share of its peak by the share of the steps that is done."""
    rule, sweep = schedule_for(1), SweepSettings()
    milestones = (rule.warmup, *rule.falls)
    return {
        "one cycle (ladder, full, head)": one_cycle,
        f"hyperrule, {rule.n_steps} steps": lambda done: stepped(
            round(done * (rule.n_steps - 1)), milestones
        ),
        "lr-find": lambda done: exponential(done, sweep.lowest, sweep.highest) / sweep.highest,
    }


def picture() -> str:
    """Return all panels side by side, the share on a logarithmic axis of as many powers of ten as it takes."""
    drawn = [*_head()]
    for number, (title, share) in enumerate(panels().items()):
        drawn += _panel(LEFT + number * (WIDTH + GAP), title, share)
    return "\n".join([*drawn, "</svg>", ""])


def _head() -> Iterator[str]:
    width, height = LEFT + len(panels()) * (WIDTH + GAP), TOP + HEIGHT + 50
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">'
    )
    yield "<title>How learning rates go: share of the peak rate, by share of the steps</title>"
    yield f"<style>{STYLE}</style>"


def _panel(left: float, title: str, share: Callable[[float], float]) -> Iterator[str]:
    yield f'<text x="{left:g}" y="{TOP - 14:g}" font-weight="600">{title}</text>'
    shares = [share(i / N_POINTS) for i in range(N_POINTS + 1)]
    decades = _decades(shares)
    for decade in range(0, decades + 1, ceil(decades / MOST_TICKS)):
        y = TOP + HEIGHT * decade / decades
        yield f'<path class="grid" d="M{left:g} {y:g}h{WIDTH:g}"/>'
        yield f'<text x="{left - 8:g}" y="{y + 4:g}" text-anchor="end">{10.0**-decade:g}</text>'
    for done, words in ((0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")):
        yield f'<text x="{left + done * WIDTH:g}" y="{TOP + HEIGHT + 18:g}" text-anchor="middle">{words}</text>'
    places = (f"{left + i / N_POINTS * WIDTH:.1f} {_y(one, decades):.1f}" for i, one in enumerate(shares))
    yield f'<path class="line" d="M{"L".join(places)}"/>'


def _decades(shares: list[float]) -> int:
    """Return how many powers of ten hold all shares but 0, which a warm-up begins with."""
    lowest = min(share for share in shares if share > 0)
    return min(MOST_DECADES, max(LEAST_DECADES, ceil(-log10(lowest) - 1e-9)))


def _y(share: float, decades: int) -> float:
    """Return where a share stands; one below the axis stands at its end."""
    return TOP + HEIGHT * min(1.0, -log10(max(share, 10.0**-decades)) / decades)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(picture(), encoding="utf-8")
