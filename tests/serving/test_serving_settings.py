"""Settings out of a file, out of flags, and as the published schema has them: all three say the same."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from markdown_blocks import ROOT, blocks_of
from topwork.errors import StorageError, UsageError
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.settings.declared import (
    LinkSettings,
    ModelSettings,
    ServerSettings,
    VersionSettings,
    checked,
    settings_of,
)
from topwork.serving.settings.file import read_settings
from topwork.serving.settings.flags import flags, with_flags
from topwork.serving.settings.schema import schema, text

WHOLE = """\
host: 0.0.0.0
port: 8080
below: [models, /srv/models]
keys: keys.json
no_keys: true
allow_origin: [https://a.example, http://localhost:3000]
allow_host: [models.example.org]
jobs: jobs.sqlite
verdicts: verdicts.json
batches_below: [batches]
allow_webhook: [hooks.example.org]
webhook_secret: secret
log_format: json
models_dir: more
models_poll: 500ms
models:
  - bundle: models/photos.topwork
    name: no        # a text, whatever YAML 1.1 says
    only: [species, age]
    engine: onnxruntime
    device: cuda
    app: own_code:photos
    replicas:
      min_replicas: 0
      max_replicas: 4
      init_replicas: 2
      target_in_flight: 1.5
      max_concurrency: 2
      max_queue_length: 10
      window: 30s
      upscale_stabilization_period: 500ms
      downscale_stabilization_period: 10m
      max_upscale_factor: 2
      max_downscale_factor: 0.5
      upscale_tolerance: 0.1
      downscale_tolerance: 0
  - bundle: /srv/models/reviews.topwork
  - trunk: ./tiny
    normalize: true
  - name: both
    chain:
      - bundle: a.topwork
      - trunk: identity/2
        when: {a: {label: x}}
  - name: split
    versions:
      - {bundle: a.topwork, weight: 3}
      - bundle: b.topwork
        name: new
        canary: 0.05
        promote_after: 200
        watch: 10m
        most_errors: 0.02
        most_slower: 0.5
      - {bundle: c.topwork, shadow: true, agrees_within: 0.1}
limits:
  max_body: 64MiB
  max_inputs: 8
  max_buffered: 1000000
  max_decoded: 100MB
  max_decoding: 1000MB
  max_concurrent: 3
  max_batch: 6
  max_waiting: 0
  max_connections: 10
  max_connections_per_address: 4
  header_timeout: 500ms
  body_timeout: 1m30s
  deadline: 2.5
  keep_alive: 10s
  drain: 1h
  wrong_keys_per_minute: 5
  max_jobs: 7
  max_stored: 1GiB
  max_key_share: 0.25
  keep_jobs: 2h
  webhook_retry: 1m
  drift_window: 100
  model_memory: 4GiB
"""


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "topwork.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- what is read ---------------------------------------------------------------------------------------


def test_every_setting_can_stand_in_a_file(tmp_path: Path) -> None:
    photos = ModelSettings(
        tmp_path / "models/photos.topwork",
        "no",
        ("species", "age"),
        "onnxruntime",
        "cuda",
        app="own_code:photos",
        replicas=Policy(0, 4, 2, 1.5, 2, 10, 30.0, 0.5, 600.0, 2.0, 0.5, 0.1, 0.0),
    )
    links = (
        LinkSettings(tmp_path / "a.topwork"),
        LinkSettings(trunk="identity/2", when={"a": {"label": "x"}}),
    )
    versions = (
        VersionSettings(tmp_path / "a.topwork", weight=3.0),
        VersionSettings(
            tmp_path / "b.topwork",
            "new",
            canary=0.05,
            promote_after=200,
            watch_s=600.0,
            most_errors=0.02,
            most_slower=0.5,
        ),
        VersionSettings(tmp_path / "c.topwork", shadow=True, agrees_within=0.1),
    )
    others = (
        ModelSettings(trunk=tmp_path / "tiny", normalize=True),
        ModelSettings(name="both", chain=links),
        ModelSettings(name="split", versions=versions),
    )
    reviews = ModelSettings(Path("/srv/models/reviews.topwork"))
    first = (64 * 2**20, 8, 1_000_000, 10**8, 10**9, 3, 6, 0, 10, 4, 0.5, 90.0, 2.5, 10.0, 3600.0, 5)
    limits = Limits(*first, 7, 2**30, 0.25, 7200.0, 60.0, drift_window=100, model_memory_bytes=2**32)
    expected = ServerSettings(
        (photos, reviews, *others),
        "0.0.0.0",
        8080,
        below=(tmp_path / "models", Path("/srv/models")),
        keys=tmp_path / "keys.json",
        no_keys=True,
        allow_origin=("https://a.example", "http://localhost:3000"),
        allow_host=("models.example.org",),
        jobs=tmp_path / "jobs.sqlite",
        batches_below=(tmp_path / "batches",),
        allow_webhook=("hooks.example.org",),
        webhook_secret=tmp_path / "secret",
        verdicts=tmp_path / "verdicts.json",
        log_format="json",
        models_dir=tmp_path / "more",
        models_poll_s=0.5,
        limits=limits,
    )
    assert read_settings(write(tmp_path, WHOLE)) == expected
    given = yaml.safe_load(WHOLE.replace("name: no ", "name: 'no' "))
    for group, one in (
        (ServerSettings, given),
        (ModelSettings, {key: value for model in given["models"] for key, value in model.items()}),
        (Limits, given["limits"]),
        (VersionSettings, {**version_keys(given), **FROM_NETWORKS}),
        (Policy, given["models"][0]["replicas"]),
    ):
        assert set(one) == {setting.key for setting in settings_of(group)}, "this file leaves something out"


FROM_NETWORKS = dict.fromkeys(("only", "engine", "device", "trunk", "normalize", "app", "replicas"))
"""Settings that a version has like any model."""


def version_keys(given: Any) -> dict[str, Any]:
    versions = next(model["versions"] for model in given["models"] if "versions" in model)
    return {key: value for version in versions for key, value in version.items()}


@pytest.mark.parametrize("content", ["", "# nothing\n", "limits:\n", "{}", "\ufeffhost: 127.0.0.1\n"])
def test_what_is_left_out_has_its_default(tmp_path: Path, content: str) -> None:
    assert read_settings(write(tmp_path, content)) == ServerSettings()


WRONG = [
    ("host: a\nprot: 80\n", 2, "the file has no setting prot", "Did you mean port?"),
    ("limits:\n  max_bodi: 1MB\n", 2, "limits has no setting max_bodi", "Did you mean max_body?"),
    ("limits:\n  max_body_bytes: 1\n", 2, "limits has no setting max_body_bytes", "Did you mean max_body?"),
    (
        "zzz: 1\n",
        1,
        "it has models, host, port, below, keys, no_keys, allow_origin, log_format, allow_host, jobs, ",
        "topwork serve --schema",
    ),
    ("port: 80\nhost: a\nport: 80\n", 3, "port stands here a second time", "line 1"),
    ("models:\n- bundle: a\n  bundle: b\n", 3, "bundle stands here a second time", "line 2"),
    ("port: '80'\n", 1, "port is '80'; expected a whole number from 0 to 65535", ""),
    ("port: 010\n", 1, "port is 010; expected a whole", ""),
    ("port: 80.0\n", 1, "port is 80.0; expected a whole", ""),
    ("port: yes\n", 1, "port is yes; expected a whole", ""),
    ("port:\n", 1, "port is empty; expected a whole", ""),
    ("port: [80]\n", 1, "port is a list; expected a whole", ""),
    ("no_keys: 1\n", 1, "no_keys is 1; expected true or false", ""),
    ("no_keys: yes\n", 1, "no_keys is yes; expected true or false", ""),
    ("host: 127\n", 1, "host is 127; expected a text", "quotes"),
    ("limits:\n  deadline: 0\n", 2, "deadline is 0; expected a duration", ""),
    ("limits: 3\n", 1, "limits is 3; expected settings", ""),
    ("limits: [max_body]\n", 1, "limits is a list; expected settings", ""),
    ("models: a.topwork\n", 1, "models is a.topwork; expected a list", "dash"),
    ("models:\n- name: a\n", 2, "The model has no bundle and no trunk", "Give a bundle"),
    ("models:\n- bundle: a\n- b\n", 3, "entry 2 of models is b; expected settings", ""),
    ("models:\n- bundle: a\n  only: x\n", 3, "only is x; expected a list", ""),
    ("models:\n- bundle: a\n  only: [x, 3]\n", 3, "an entry of only is 3; expected a text", ""),
    ("models:\n- bundle: a\n  engine: torch\n", 3, "expected one of auto, openvino, onnxruntime", ""),
    ("- a\n", 1, "the file is a list; expected settings", ""),
    ("? [a]\n: 3\n", 1, "the file has no setting a list", ""),
    ("<<: {port: 80}\n", 1, "the file has no setting <<", ""),
    ("port: !!python/object/apply:os.getpid []\n", 1, "the tag tag:yaml.org,2002:python", ""),
    ("port: !!int 80\n", 1, "the tag tag:yaml.org,2002:int is not taken", "Leave it out"),
    ("limits: !!set {max_body}\n", 1, "the tag tag:yaml.org,2002:set is not taken", ""),
    ("host: a\nlimits: {\n", 3, "this is no YAML: expected", ""),
    ("host: a\n\tport: 3\n", 2, "this is no YAML: ", ""),
    ("host: *a\n", 1, "this is no YAML: found undefined alias", ""),
    ("host: a\n--- \nhost: b\n", 2, "this is no YAML: ", ""),
    ("host: a\n#\n# \xe4\n".encode("latin-1"), 3, "this is no text in UTF-8", "Save it as UTF-8"),
]


@pytest.mark.parametrize(("content", "line", "problem", "step"), WRONG)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, content: str | bytes, line: int, problem: str, step: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        read_settings(path)
    assert caught.value.problem.startswith(f"{path}, line {line}: ")
    assert problem in caught.value.problem
    assert step in caught.value.next_step


@pytest.mark.parametrize("content", ["\0", "[" * 100_000, "#" * 2**21, "a: &a [*a]\n"])
def test_a_file_that_is_none_is_refused_all_the_same(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError, match=r"topwork\.yaml"):
        read_settings(write(tmp_path, content))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Cannot read"):
        read_settings(tmp_path / "topwork.yaml")


# --- the schema -----------------------------------------------------------------------------------------


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (ROOT / "docs" / "topwork.schema.json").read_text(encoding="utf-8")
    assert published == text(), "topwork serve --schema > docs/topwork.schema.json"
    jsonschema_rs.meta.validate(schema())


def takes(content: str) -> bool:
    found: bool = jsonschema_rs.validator_for(schema()).is_valid(yaml.load(content, yaml.CSafeLoader))
    return found


@pytest.mark.parametrize("content", [WHOLE.replace("name: no ", "name: 'no' "), "", "limits:\n", "{}"])
def test_the_schema_takes_what_is_read(content: str) -> None:
    assert takes(content)


def test_the_schema_refuses_what_is_refused() -> None:
    """All but what no schema can see: syntax, tags, keys that stand twice, and how YAML spells a number."""
    unseen = (
        "second time",
        "no YAML",
        "UTF-8",
        "tag",
        "010",
        "no_keys is yes",
        "80.0",
        "a list; expected a whole",
        "setting a list",
    )
    seen = 0
    for content, _, problem, _ in WRONG:
        if isinstance(content, str) and not any(word in problem for word in unseen):
            assert takes(content) == ("<<" in content), content
            seen += 1
    assert seen >= 15


def test_every_setting_is_described() -> None:
    described: Any = schema()["properties"]
    for group in (described, described["models"]["items"]["properties"], described["limits"]["properties"]):
        assert all(one["description"].endswith(".") for one in group.values())
    assert {one["default"] for one in described["limits"]["properties"].values() if "default" in one} >= {
        "32MiB",
        64,
    }


# --- flags ----------------------------------------------------------------------------------------------


def test_every_setting_is_a_flag_but_the_bundle_and_groups() -> None:
    settings = [one.key for group in GROUPS for one in settings_of(group)]
    named = [flag.name for flag in flags()]
    assert sorted([*named, "models", "bundle", "chain", "versions", "replicas", "limits"]) == sorted(settings)
    assert len(set(named)) == len(named) >= 30


def test_flags_beat_the_file() -> None:
    one, two = ModelSettings(Path("a"), name="x"), ModelSettings(Path("b"))
    settings = ServerSettings((one, two), port=1, limits=Limits(max_inputs=7))
    beaten = with_flags(settings, (), {"port": 0, "engine": "openvino", "max_body": 5, "only": ("t",)})
    assert (beaten.port, beaten.host) == (0, settings.host)
    assert beaten.limits == replace(settings.limits, max_body_bytes=5)
    assert beaten.models == tuple(replace(m, engine="openvino", only=("t",)) for m in (one, two))
    assert with_flags(settings, [Path("c")]).models == (ModelSettings(Path("c")),)
    assert with_flags(settings) == settings


GROUPS = (ServerSettings, ModelSettings, Policy, Limits)


def parts(settings: ServerSettings) -> dict[type, object]:
    model = settings.models[0]
    return dict(zip(GROUPS, (settings, model, model.replicas, settings.limits), strict=True))


def test_every_flag_sets_its_own_field() -> None:
    staff = Policy(max_replicas=100)
    bundle, trunk = ModelSettings(Path("a"), replicas=staff), ModelSettings(trunk="a")
    for flag in flags():
        settings = ServerSettings((trunk if flag.name in ("trunk", "normalize") else bundle,))
        changed = with_flags(settings, (), {flag.name: 40})
        groups = parts(changed)
        assert getattr(groups[flag.group], flag.setting.field) == 40
        before = parts(settings)
        others = [
            f.name for f in fields(flag.group) if f.name not in (flag.setting.field, "models", "limits")
        ]
        assert all(getattr(groups[flag.group], n) == getattr(before[flag.group], n) for n in others)


# --- what can be served ---------------------------------------------------------------------------------


def test_a_server_has_a_model() -> None:
    with pytest.raises(UsageError, match="no model"):
        checked(ServerSettings())


def test_bundles_lie_where_the_operator_said(tmp_path: Path) -> None:
    inside = tmp_path / "models"
    inside.mkdir()

    def served(path: Path, *below: Path) -> ServerSettings:
        return checked(ServerSettings((ModelSettings(path),), below=below))

    served(tmp_path / "anywhere")
    served(inside / "deep" / "a.topwork", tmp_path / "other", inside)
    for outside in (tmp_path / "a", inside / ".." / "a", tmp_path / "models-of-another" / "a"):
        with pytest.raises(UsageError, match="does not lie below"):
            served(outside, inside)


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    inside = tmp_path / "models"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(b"")
    (inside / "a.topwork").symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match=r"which leads to .*secret, does not lie below"):
        checked(ServerSettings((ModelSettings(inside / "a.topwork"),), below=(inside,)))
    (tmp_path / "linked").symlink_to(inside)
    checked(ServerSettings((ModelSettings(inside / "b"),), below=(tmp_path / "linked",)))


def test_the_example_in_the_docs_is_one(tmp_path: Path) -> None:
    examples = [one for one in blocks_of(ROOT / "docs" / "settings.md") if one.language == "yaml"]
    assert examples
    for example in examples:
        assert read_settings(write(tmp_path, example.text)).models
        assert takes(example.text)


# --- worker processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replicas", "told"),
    [
        ("{min_replicas: 2}", "min_replicas is given, and max_replicas is not"),
        ("{max_replicas: 0}", "max_replicas is 0; expected a whole number from 1 to 128"),
        ("{max_replicas: 2, max_downscale_factor: 1.5}", "expected a number from 0 to 1"),
        ("{max_replicas: 2, max_upscale_factor: 0.5}", "expected a number of at least 1"),
        ("{max_replicas: 2, target_in_flight: 0}", "expected a number of at least 0.01"),
        ("{max_replicas: 2, target_in_flight: '1'}", "expected a number of at least 0.01"),
        ("{max_replicas: 2, window: 0s}", "window is 0s; expected a duration"),
        ("{max_replicas: 2, replicas: 2}", "replicas has no setting replicas"),
        ("{max_replicas: 2, init_replicas: 3}", "init_replicas 3 and max_replicas 2"),
    ],
)
def test_wrong_numbers_of_processes_name_their_line(replicas: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(write(tmp_path, f"port: 0\nmodels:\n- bundle: a\n  replicas: {replicas}\n"))
    assert "topwork.yaml, line 4: " in caught.value.problem
    assert told in caught.value.problem


def test_flags_give_every_model_its_processes() -> None:
    staffed = ModelSettings(Path("b"), replicas=Policy(max_replicas=3, window_s=5.0))
    settings = ServerSettings((ModelSettings(Path("a")), staffed))
    first, second = with_flags(settings, (), {"max_replicas": 2, "min_replicas": 2}).models
    assert first.replicas == Policy(min_replicas=2, max_replicas=2)
    assert second.replicas == Policy(min_replicas=2, max_replicas=2, window_s=5.0)
    with pytest.raises(UsageError, match="max_replicas is not"):
        with_flags(settings, (), {"min_replicas": 2})


def test_the_schema_knows_the_processes() -> None:
    described: Any = schema()["properties"]
    replicas = described["models"]["items"]["properties"]["replicas"]
    assert replicas["additionalProperties"] is False
    defaults = {one["default"] for one in replicas["properties"].values() if "default" in one}
    assert defaults >= {1, 1.5, 0.75, "60s", "300s"}
    assert all(one["description"].endswith(".") for one in replicas["properties"].values())
