"""What a model of a server may be: a bundle, a trunk, a chain; in a file and as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from topwork.errors import UsageError
from topwork.serving.settings.declared import LinkSettings, ModelSettings, ServerSettings, checked
from topwork.serving.settings.file import read_settings
from topwork.serving.settings.flags import with_flags
from topwork.serving.settings.schema import schema

CHAIN = """
models:
  - name: cars
    app: own_code:cars
    chain:
      - bundle: detector.topwork
      - bundle: plates.topwork
        when: {detector: {label: [plate, "no"], probabilities: {plate: {at_least: 0.9}}}}
      - trunk: all-minilm-l6-v2
        name: words
        normalize: true
        takes: {plates: label}
"""


def read(folder: Path, text: str) -> ServerSettings:
    path = folder / "topwork.yaml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def test_a_chain_is_read_from_a_file(tmp_path: Path) -> None:
    [model] = read(tmp_path, CHAIN).models
    assert (model.name, model.app, model.bundle) == ("cars", "own_code:cars", None)
    first, second, third = model.chain
    assert first == LinkSettings(tmp_path / "detector.topwork")
    assert second.when == {
        "detector": {"label": ["plate", "no"], "probabilities": {"plate": {"at_least": 0.9}}}
    }
    assert (third.trunk, third.name, third.normalize) == ("all-minilm-l6-v2", "words", True)
    assert third.takes == {"plates": "label"}
    assert model.paths == (tmp_path / "detector.topwork", tmp_path / "plates.topwork")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("all-minilm-l6-v2", "all-minilm-l6-v2"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
        ("./mine", "mine"),
        ("photos.topwork", "photos.topwork"),
    ],
)
def test_a_trunk_is_a_name_or_a_path_from_the_files_folder(word: str, expected: str, tmp_path: Path) -> None:
    [model] = read(tmp_path, f"models: [{{trunk: {word}}}]").models
    is_path = word != expected or word.endswith(".topwork")
    assert model.trunk == (tmp_path / expected if is_path else expected)
    assert model.paths == ((tmp_path / expected,) if is_path else ())


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("{name: x}", "The model has no bundle and no trunk and no chain and no versions; expected one of"),
        (
            "{bundle: a, trunk: b}",
            "The model has bundle and trunk; expected one of bundle, trunk, chain, versions",
        ),
        ("{trunk: a, only: [x]}", "only chooses targets of a bundle"),
        ("{bundle: a, normalize: true}", "normalize is for the features of a trunk"),
        ("{chain: [{bundle: a}]}", "The chain has no name"),
        ("{name: c, chain: [{bundle: a, trunk: b}]}", "The model has bundle and trunk; expected one of"),
        ("{name: c, chain: [{name: a}]}", "The model has no bundle and no trunk; expected one of"),
        ("{name: c, chain: [{bundle: a, chain: []}]}", "entry 1 of chain has no setting"),
        ("{name: c, chain: [{bundle: a, takes: {a: x, b: y}}]}", "takes names more than one model"),
        ("{name: c, chain: [{bundle: a, takes: {a: [x]}}]}", "takes names more than one model, or no key"),
        ("{name: c, chain: [{bundle: a, when: plate}]}", "when is plate; expected a group"),
        ("{name: c, chain: [{bundle: a, when: {x: 1, x: 2}}]}", "when has the key x twice"),
        ("{name: c, chain: [{bundle: a, when: !odd {x: 1}}]}", "the tag !odd is not taken"),
        ("{name: c, chain: [{bundle: a, when: &x {y: *x}}]}", "nested too deeply"),
        ("{name: c, chain: [{bundle: a, when: {y: &x [*x]}}]}", "nested too deeply"),
        ("{versions: [{bundle: a}]}", "The model with versions has no name"),
        (
            "{name: m, versions: [{bundle: x/a}, {bundle: y/a}]}",
            "The versions are called a, a; expected names that",
        ),
        (
            "{name: m, versions: [{bundle: a, shadow: true}, {bundle: b, weight: 0}]}",
            "expected one that answers",
        ),
        ("{name: m, versions: [{bundle: a, canary: 0.5}]}", "expected one that answers"),
        (
            "{name: m, versions: [{bundle: a}, {bundle: b, canary: 0.1}, {bundle: c, canary: 0.1}]}",
            "The versions b and c are canaries; expected one at most",
        ),
        (
            "{name: m, versions: [{bundle: a, shadow: true, canary: 0.1}]}",
            "The version is a shadow and a canary",
        ),
        ("{name: m, versions: [{bundle: a, canary: 0}]}", "canary is 0; expected a number from 0.001 to 1"),
        ("{name: m, versions: [{bundle: a, weight: -1}]}", "weight is -1; expected a number of at least 0"),
        (
            "{name: m, versions: [{name: v}]}",
            "The model has no bundle and no trunk; expected one of bundle, trunk.",
        ),
        ("{trunk: a, normalize: yes}", "normalize is yes; expected true or false"),
    ],
)
def test_what_is_no_model_names_its_line(model: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"port: 0\nmodels:\n  - {model}")
    assert "topwork.yaml, line 3: " in caught.value.problem
    assert told in caught.value.problem


def test_a_flag_gives_a_trunk_in_place_of_the_files_models(tmp_path: Path) -> None:
    settings = read(tmp_path, "models: [{bundle: a}]")
    found = with_flags(settings, (), {"trunk": "identity/3", "normalize": True, "app": "own"})
    assert found.models == (ModelSettings(trunk="identity/3", normalize=True, app="own"),)
    assert with_flags(settings).models == settings.models
    with pytest.raises(UsageError, match="has bundle and trunk"):
        with_flags(settings, [Path("b")], {"trunk": "identity/3"})


def test_flags_for_every_model_reach_those_of_a_chain(tmp_path: Path) -> None:
    settings = read(tmp_path, CHAIN)
    [model] = with_flags(settings, (), {"engine": "onnxruntime", "name": "other", "app": "mine"}).models
    assert (model.name, model.app, model.engine) == ("other", "mine", "auto")
    assert [(one.engine, one.name, one.app) for one in model.chain] == [
        ("onnxruntime", None, None),
        ("onnxruntime", None, None),
        ("onnxruntime", "words", None),
    ]


def test_flags_for_every_model_reach_the_versions_of_one(tmp_path: Path) -> None:
    settings = read(tmp_path, "models: [{name: m, versions: [{bundle: a, name: v1}, {bundle: b}]}]")
    [model] = with_flags(settings, (), {"engine": "onnxruntime", "name": "other"}).models
    assert (model.name, model.engine) == ("other", "auto")
    assert [(one.engine, one.title) for one in model.versions] == [
        ("onnxruntime", "v1"),
        ("onnxruntime", "b"),
    ]
    assert model.paths == (tmp_path / "a", tmp_path / "b")
    assert model.versions[0].as_model("m") == ModelSettings(tmp_path / "a", "m", engine="onnxruntime")


def test_versions_have_worker_processes_of_their_own(tmp_path: Path) -> None:
    text = "models: [{name: m, versions: [{bundle: a, replicas: {max_replicas: 3}}, {bundle: b}]}]"
    settings = read(tmp_path, text)
    [model] = settings.models
    assert [one.as_model("m").replicas.max_replicas for one in model.versions] == [3, None]
    [model] = with_flags(settings, (), {"max_replicas": 2}).models
    assert [one.replicas.max_replicas for one in model.versions] == [2, 2]
    with pytest.raises(UsageError, match="The model with versions has replicas of its own"):
        read(tmp_path, text.replace("name: m,", "name: m, replicas: {max_replicas: 2},"))


def test_flags_for_models_need_models(tmp_path: Path) -> None:
    settings = ServerSettings(models_dir=tmp_path)
    assert with_flags(settings, (), {"max_inputs": 3}).models_dir == tmp_path
    with pytest.raises(UsageError, match="engine is for models that are named"):
        with_flags(settings, (), {"engine": "onnxruntime"})
    with pytest.raises(UsageError, match="max_replicas is for models that are named"):
        with_flags(settings, (), {"max_replicas": 2})


def test_every_file_of_a_chain_lies_where_files_may_lie(tmp_path: Path) -> None:
    settings = read(tmp_path, CHAIN + "below: [.]\n")
    assert checked(settings) == settings
    with pytest.raises(UsageError, match=r"plates\.topwork, which leads to .* does not lie below"):
        checked(read(tmp_path, CHAIN.replace("plates.topwork", "../plates.topwork") + "below: [.]\n"))
    with pytest.raises(UsageError, match=r"mine, which leads to .* does not lie below"):
        checked(read(tmp_path, "models: [{trunk: ../mine}]\nbelow: [.]"))


def test_the_schema_knows_them() -> None:
    models: Any = schema()["properties"]
    properties = models["models"]["items"]["properties"]
    assert properties["normalize"]["type"] == "boolean"
    link = properties["chain"]["items"]
    assert link["properties"]["when"]["type"] == "object"
    assert link["additionalProperties"] is False
    assert "chain" not in link["properties"]
