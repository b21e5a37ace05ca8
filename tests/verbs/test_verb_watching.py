"""What `top` makes of two looks at a server's metrics."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from doors import keyed_door, made
from fake_servable import FakeServable
from local_server import serving
from topwork.errors import UsageError
from topwork.serving.app import Application, application
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.server import listen, url_of
from topwork.serving.traffic.canaries import Rules
from topwork.serving.traffic.shares import Canary, Lane, Traffic
from topwork.serving.traffic.versions import Versions
from topwork.serving.wrapping.chains import Chain, Link
from topwork.verbs.watching import Look, load_between, look, parse
from watched_servable import StaffedServable, WatchedServable


def test_two_looks_tell_what_went_on_between() -> None:
    with serving(application(WatchedServable(delay_s=0.02), Limits(drift_window=60))) as url:
        before = look(url)
        for number in range(60):
            httpx.post(f"{url}/predict", content=b"odd" + b"." * number)
        httpx.post(f"{url}/predict", content=b"boom")
        after = look(f"{url}/")
    found = load_between(before, after)
    (model,) = found.models
    assert found.requests_per_s * found.seconds == pytest.approx(62)  # one of them the first look
    assert found.errors_per_s * found.seconds == pytest.approx(1)
    assert (found.shed_per_s, found.n_in_flight) == (0, 0)
    assert found.p50_s is not None
    assert model.p50_s is not None
    assert 0.01 < model.p50_s <= found.p50_s < 0.5
    assert (model.name, model.is_ready, model.n_waiting, model.n_windows, model.n_drifted) == (
        "chess",
        True,
        0,
        1,
        1,
    )
    assert model.out_of_domain == 1
    assert model.most_drifted is not None
    assert model.most_drifted[0] == "input: distance"
    assert model.most_drifted[1] == pytest.approx(0.99, abs=0.01)


def test_versions_and_the_models_of_a_chain_are_told_of() -> None:
    limits = Limits(drift_window=60)
    members = {name: Hosted(WatchedServable("m"), limits) for name in ("v1", "v2")}
    traffic = Traffic("m", [Lane("v1", 1.0)], Canary("v2", 0.5, Rules()), random=lambda: 0.9)
    chain = Hosted(Chain("cars", [Link(WatchedServable("plates"))]), limits)
    versions = Versions(members, traffic, {})
    with serving(Application([versions, chain], limits)) as url:
        before = look(url)
        for _ in range(3):
            httpx.post(f"{url}/predict", content=b"x")
        httpx.post(f"{url}/predict", content=b"boom")
        httpx.post(f"{url}/v1/models/cars/predict", content=b"x")
        versions.settle("rolled back")
        after = look(url)
    found = load_between(before, after)
    assert [(one.name, one.is_ready) for one in found.models] == [
        ("m@v1", True),
        ("m@v2", True),
        ("cars", True),
        ("cars/plates", None),
    ]
    assert [one.answers_per_s * found.seconds for one in found.models] == pytest.approx([3, 0, 1, 1])
    canary, old = found.versions
    assert (canary.model, canary.version, canary.share, canary.phase) == ("m", "v2", 0.0, "rolled back")
    assert (old.version, old.share, old.n_answered, old.n_failed, old.phase) == ("v1", 1.0, 3, 1, "")
    assert old.requests_per_s * found.seconds == pytest.approx(4)
    assert old.p50_s is not None
    assert (canary.p50_s, old.decided_s) == (None, None)
    assert traffic.ended is not None
    assert canary.decided_s == pytest.approx(traffic.ended.at.timestamp())


def test_worker_processes_are_told_of_where_there_are_any() -> None:
    staffed = StaffedServable("cars", states={"ready": 2, "starting": 1})
    app = Application([Hosted(staffed, Limits()), Hosted(FakeServable(), Limits())], Limits())
    with serving(app) as url:
        httpx.post(f"{url}/v1/models/chess/predict", content=b"x")
        found = load_between(look(url), look(url))
    cars, chess = found.models
    assert (cars.n_replicas_ready, cars.n_replicas) == (2, 3)
    assert (chess.n_replicas_ready, chess.n_replicas) == (None, None)
    assert chess.out_of_domain is None, "it has answered, and knows no domain"


def test_where_nothing_happened_nothing_is_made_up() -> None:
    with serving(application(FakeServable())) as url:
        found = load_between(look(url), look(url))
    (model,) = found.models
    assert (found.p50_s, model.p50_s, model.out_of_domain, model.most_drifted) == (None, None, None, None)


def test_a_server_that_was_started_anew_is_told_from_its_start() -> None:
    before = Look(0.0, parse('topwork_requests_total{method="GET",route="/",status="200"} 500\n'))
    after = Look(2.0, parse('topwork_requests_total{method="GET",route="/",status="200"} 6\n'))
    assert load_between(before, after).requests_per_s == 3


def test_labels_come_back_as_they_were_and_other_lines_are_left_out() -> None:
    text = (
        '# HELP a b\na{m="x \\"y\\" \\\\n, {z}",n="2"} 3.5 1700000000\nno metric here\nb NaN\nc +Inf\nd x\n'
    )
    found = parse(text)
    assert found["a"] == {frozenset({("m", 'x "y" \\n, {z}'), ("n", "2")}): 3.5}
    assert set(found) == {"a", "b", "c"}


def test_a_percentile_is_within_its_step() -> None:
    name = "topwork_work_seconds_bucket"
    counts = {"0.1": 10, "0.2": 90, "+Inf": 100}
    lines = "".join(f'{name}{{model="m",le="{step}"}} {n}\n' for step, n in counts.items())
    after = Look(1.0, parse('topwork_ready{model="m"} 1\n' + lines))
    (model,) = load_between(Look(0.0, {}), after).models
    assert model.p50_s == pytest.approx(0.15)
    assert model.p99_s == 0.2  # beyond the last step all that is known is that it was more


def test_a_key_is_sent_and_one_that_is_missing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = made(path, "top", "predict", "metrics")
    with serving(application(FakeServable(), door=keyed_door(path))) as url:
        assert look(url, key).samples
        with pytest.raises(UsageError, match="status 401") as refused:
            look(url)
    assert "--key" in str(refused.value)


@pytest.mark.parametrize("url", ["ftp://host", "http://", "file:///etc/passwd"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no URL"):
        look(url)


def test_a_server_that_is_not_there_or_another_one_is_told() -> None:
    with listen("127.0.0.1", 0) as listener:
        closed = url_of(listener)
    with pytest.raises(UsageError, match="cannot be reached"):
        look(closed)
    with serving(application(FakeServable())) as url, pytest.raises(UsageError, match="status 404"):
        look(f"{url}/v2")
