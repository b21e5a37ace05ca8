"""Learning rates rise, fall and differ by stage as planned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from markdown_blocks import ROOT
from topwork.training.schedules import (
    averaging,
    discriminative,
    exponential,
    one_cycle,
    stage_rates,
    stepped,
)


def test_one_cycle_rises_to_its_peak_and_falls_to_almost_nothing() -> None:
    done = np.linspace(0, 1, 501)
    shares = np.array([one_cycle(float(one)) for one in done])
    peak = int(shares.argmax())
    assert done[peak] == pytest.approx(0.2)
    assert shares[peak] == pytest.approx(1.0)
    assert shares[0] == shares[-1] == pytest.approx(0.01)
    assert (np.diff(shares[: peak + 1]) > 0).all()
    assert (np.diff(shares[peak:]) < 0).all()
    assert np.abs(np.diff(shares)).max() < 0.02  # nowhere a jump


def test_half_way_up_and_half_way_down_the_rate_is_half() -> None:
    assert one_cycle(0.1) == pytest.approx(0.505)
    assert one_cycle(0.6) == pytest.approx(0.505)
    assert one_cycle(0.25, warmup=0.5) == pytest.approx(0.505)


def test_stages_grow_by_a_constant_factor_between_the_ends() -> None:
    rates = stage_rates(5, 1e-4, 1e-2)
    assert rates[0] == pytest.approx(1e-4)
    assert rates[-1] == pytest.approx(1e-2)
    assert np.ptp(np.diff(np.log(rates))) < 1e-9
    assert stage_rates(1, 1e-4, 1e-2) == pytest.approx((1e-3,))


def test_each_stage_has_a_multiple_of_the_rate_below_it() -> None:
    assert discriminative(3, 1e-2, 2.6) == pytest.approx((1e-2 / 6.76, 1e-2 / 2.6, 1e-2))
    assert discriminative(1, 1e-2, 2.6) == (1e-2,)


def test_averages_forget_the_beginning() -> None:
    assert averaging(0, 0.98) == pytest.approx(0.1)
    stays = [averaging(step, 0.98) for step in range(2000)]
    assert (np.diff(stays) >= 0).all()
    assert stays[-1] == 0.98
    assert averaging(50, 0.0) == 0.0


def test_a_sweep_grows_by_an_equal_factor() -> None:
    rates = [exponential(i / 4, 1e-6, 1e-2) for i in range(5)]
    assert rates == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])


def test_steps_down_begin_after_their_milestone() -> None:
    shares = [stepped(step, (4, 6, 8)) for step in range(10)]
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1, 0.1, 0.1, 0.01])


def test_the_picture_in_the_docs_is_what_the_schedules_give(tmp_path: Path) -> None:
    drawn = tmp_path / "schedules.svg"
    subprocess.run([sys.executable, str(ROOT / "tools" / "draw_schedules.py"), str(drawn)], check=True)
    assert drawn.read_text() == (ROOT / "docs" / "pictures" / "schedules.svg").read_text()
    ElementTree.parse(drawn)
