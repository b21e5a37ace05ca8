"""Real models in worker processes: they answer as they do here, with a share of the cores, and are rolled over."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake_servable import client
from topwork import Model, Surroundings
from topwork.bundle.compiling import open_model
from topwork.contracts import Answer, Servable
from topwork.engines.machine import survey
from topwork.errors import BundleError, UsageError
from topwork.inputs import IMAGE
from topwork.serving.app import Application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.manned import Replicas
from topwork.serving.settings.declared import LinkSettings, ModelSettings
from topwork.verbs.replicating import StaffedOpener
from unruly import eventually

INPUTS = (*IMAGE.synthetic(3, 1), b"no photo")


def ask(model: Servable) -> list[Answer]:
    """Ask a model, whose answers may come in any order."""
    return sorted(model.submit(INPUTS), key=lambda one: one.index)


@pytest.fixture
def opener(around: Surroundings, tmp_path: Path) -> StaffedOpener:
    return StaffedOpener(around, tmp_path)


@pytest.fixture(scope="module")
def hosted(fitted: Model, around: Surroundings) -> Hosted:
    chosen = ModelSettings(fitted.path, engine="onnxruntime", replicas=Policy(max_replicas=2, min_replicas=2))
    return StaffedOpener(around, Path.cwd())(chosen, Limits())


def test_a_bundle_answers_in_other_processes_as_it_does_here(hosted: Hosted, fitted: Model) -> None:
    assert isinstance(hosted.servable, Replicas)
    hosted.servable.prove()
    here = open_model(fitted.path, engine="onnxruntime")
    assert ask(hosted.servable) == ask(here)
    assert hosted.servable.name == here.name
    assert hosted.servable.wire == here.wire
    assert hosted.servable.answer_schema == here.answer_schema
    assert hosted.servable.about["identity"] == here.bundle.identity
    assert hosted.servable.about["engine"] == here.about["engine"]


def test_each_process_has_its_share_of_the_cores(hosted: Hosted) -> None:
    share = max(1, survey().n_cores // 2)
    assert isinstance(hosted.servable, Replicas)
    hosted.servable.prove()
    assert len(hosted.servable.pids) == 2
    eventually(lambda: hosted.servable.gathered)  # type: ignore[attr-defined]
    made = hosted.servable.gathered
    assert made is not None
    assert made.n_at_once == share * made.largest
    # In each of the two as many as it computes, and the next ones; each has measured for itself, the roomiest counts.
    largest, rest = divmod(hosted.servable.n_at_once, 2 * 2 * share)
    assert rest == 0
    assert largest >= made.largest


def test_what_a_bundle_knows_of_its_fit_is_watched(hosted: Hosted, fitted: Model) -> None:
    here = open_model(fitted.path, engine="onnxruntime").reference
    there = hosted.watch.reference
    assert here is not None
    assert there is not None
    assert (there.n_rows, there.out_of_domain) == (here.n_rows, here.out_of_domain)
    assert np.array_equal(there.traits, here.traits)
    assert there.profiles.keys() == here.profiles.keys()
    for target, profile in here.profiles.items():
        assert there.profiles[target].counts == profile.counts
        assert there.profiles[target].spreads.keys() == profile.spreads.keys()


def test_limits_of_batches_and_of_decoding_hold_in_processes(opener: StaffedOpener, fitted: Model) -> None:
    chosen = ModelSettings(fitted.path, engine="onnxruntime", replicas=Policy(max_replicas=1))
    hosted = opener(chosen, Limits(max_batch=3, max_decoded_bytes=400_000))
    hosted.servable.prove()
    assert isinstance(hosted.servable, Replicas)
    eventually(lambda: hosted.servable.gathered)  # type: ignore[attr-defined]
    assert hosted.servable.gathered is not None
    assert hosted.servable.gathered.largest == 3
    written = io.BytesIO()
    Image.new("RGB", (400, 400)).save(written, "PNG")
    small, large = sorted(hosted.servable.submit([INPUTS[0], written.getvalue()]), key=lambda one: one.index)
    assert small.value is not None
    assert "at most 400,000 are given" in str(large.problem)


def test_a_killed_process_is_replaced_by_one_that_answers_the_same(hosted: Hosted) -> None:
    model = hosted.servable
    assert isinstance(model, Replicas)
    model.prove()
    before = ask(model)
    victims = model.pids
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    # Else the request could be given to the one, and then to the other, before either is known to be gone.
    eventually(lambda: not set(victims) & set(model.pids))
    assert ask(model) == before
    eventually(lambda: len(model.pids) == 2)


def test_an_engine_is_built_for_so_many_cores(fitted: Model) -> None:
    assert open_model(fitted.path, n_cores=1).engine.n_streams == 1
    assert open_model(fitted.path, n_cores=1000).engine.n_streams == survey().n_cores


def test_what_cannot_be_opened_is_told_as_it_would_be_here(opener: StaffedOpener, tmp_path: Path) -> None:
    policy = Policy(max_replicas=2)
    with pytest.raises(UsageError, match="There is no file"):
        opener(ModelSettings(tmp_path / "none.topwork", replicas=policy), Limits())
    (tmp_path / "bad.topwork").write_bytes(b"no zip")
    with pytest.raises(BundleError, match="It is not a bundle"):
        opener(ModelSettings(tmp_path / "bad.topwork", replicas=policy), Limits())


@pytest.mark.slow
def test_a_chain_with_own_code_is_one_model_in_each_process(
    opener: StaffedOpener, fitted: Model, tiny_trunk: Path, tmp_path: Path
) -> None:
    (tmp_path / "own_elsewhere.py").write_text(
        "import os\ndef after(answer): return {'names': list(answer), 'pid': os.getpid()}\n", encoding="utf-8"
    )
    links = (LinkSettings(fitted.path, name="colour"), LinkSettings(trunk=tiny_trunk))
    chosen = ModelSettings(name="both", chain=links, app="own_elsewhere", replicas=Policy(max_replicas=1))

    async def main() -> None:
        hosted = await asyncio.to_thread(opener, chosen, Limits())
        app = Application([hosted], Limits())
        async with app.running(), client(app) as one:
            await app.proven()
            told = (await one.post("/predict", content=INPUTS[0])).json()
            assert told["model"] == "both"
            [answer] = told["predictions"]
            assert answer["names"] == ["colour", "tiny"]
            assert isinstance(hosted.servable, Replicas)
            assert (answer["pid"],) == hosted.servable.pids

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="maps out of /proc")
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_processes_map_the_weights_from_one_file(
    engine: str, around: Surroundings, fitted: Model, tmp_path: Path
) -> None:
    own = replace(around, cache_dir=tmp_path)
    policy = Policy(max_replicas=2, min_replicas=2)
    hosted = StaffedOpener(own, tmp_path)(
        ModelSettings(fitted.path, engine=engine, replicas=policy), Limits()
    )
    assert isinstance(hosted.servable, Replicas)
    hosted.servable.prove()
    [weights] = (tmp_path / "mapped").rglob("weights.bin")
    maps = [Path(f"/proc/{pid}/maps").read_text(encoding="utf-8") for pid in hosted.servable.pids]
    # OpenVINO lets go of what it has packed, and of this network that is all.
    assert [str(weights) in one for one in maps] == [engine == "onnxruntime"] * 2
    here = open_model(fitted.path, engine=engine)
    found = [one.value and one.value["label"] for one in ask(hosted.servable)]
    assert found == [one.value and one.value["label"] for one in ask(here)]


def test_where_nothing_can_be_written_each_has_its_own(
    around: Surroundings, fitted: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mapped").touch()
    own = replace(around, cache_dir=tmp_path)
    hosted = StaffedOpener(own, tmp_path)(
        ModelSettings(fitted.path, engine="onnxruntime", replicas=Policy(max_replicas=1)), Limits()
    )
    hosted.servable.prove()
    eventually(lambda: "are in memory once for each process" in caplog.text)


def test_the_models_of_a_chain_are_watched(opener: StaffedOpener, fitted: Model) -> None:
    links = tuple(LinkSettings(fitted.path, name=name, engine="onnxruntime") for name in ("one", "other"))
    hosted = opener(ModelSettings(name="both", chain=links, replicas=Policy(max_replicas=1)), Limits())
    hosted.servable.prove()
    here = open_model(fitted.path, engine="onnxruntime").reference
    assert here is not None
    assert set(hosted.watch.parts) == {"one", "other"}
    for watch in hosted.watch.parts.values():
        assert watch.reference is not None
        assert np.array_equal(watch.reference.traits, here.traits)
    answers = ask(hosted.servable)
    assert all(set(one.parts or {}) == {"one", "other"} for one in answers if one.value)
    traits = [part.traits for one in answers if one.value for part in (one.parts or {}).values()]
    assert all(len(one) == len(here.traits) for one in traits)
    hosted.watch.saw(answers)
    assert [watch.n_answers for watch in hosted.watch.parts.values()] == [len(INPUTS) - 1] * 2
