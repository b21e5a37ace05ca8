"""The public face: what `import topwork` gives, and what it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import topwork

FACE = {
    "BundleError",
    "DataError",
    "DecodeError",
    "FitOptions",
    "MissingExtraError",
    "Model",
    "PluginError",
    "Prediction",
    "ProofError",
    "StorageError",
    "Surroundings",
    "TopworkClassifier",
    "TopworkError",
    "TopworkRegressor",
    "UsageError",
    "WeightsError",
    "Writer",
    "__version__",
    "check",
    "check_texts",
    "compare",
    "embed",
    "estimate",
    "estimate_writer",
    "evaluate",
    "export",
    "export_writer",
    "find_rate",
    "fit",
    "fit_writer",
    "keep",
    "load",
    "mend_texts",
    "optimize",
    "predict",
    "serve",
    "writer",
}
HEAVY = (
    "numpy",
    "torch",
    "torchvision",
    "timm",
    "scipy",
    "sklearn",
    "openvino",
    "onnx",
    "PIL",
    "uvicorn",
    "jinja2",
    "rich.progress",
)


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_face_is_what_it_says() -> None:
    assert set(topwork.__all__) == FACE
    assert dir(topwork) == sorted(FACE)


@pytest.mark.parametrize("name", sorted(FACE))
def test_every_name_of_the_face_is_there(name: str) -> None:
    assert getattr(topwork, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        topwork.fitt  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize(
    "code",
    [
        "import topwork",
        "from topwork.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass",
        "from topwork.cli.app import app\ntry: app(['fit', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_starting_imports_nothing_heavy(code: str) -> None:
    loaded = modules_after(code)
    assert "topwork" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_importing_the_verbs_imports_no_network_library() -> None:
    loaded = modules_after("import topwork\ntopwork.fit")
    assert "topwork.verbs.fitting" in loaded
    assert [name for name in HEAVY[1:] if name in loaded] == []


def test_every_error_is_a_topwork_error_and_the_built_in_it_stands_for() -> None:
    stands_for = {
        topwork.BundleError: ValueError,
        topwork.DataError: ValueError,
        topwork.DecodeError: ValueError,
        topwork.MissingExtraError: ImportError,
        topwork.PluginError: TypeError,
        topwork.ProofError: topwork.BundleError,
        topwork.StorageError: OSError,
        topwork.UsageError: ValueError,
        topwork.WeightsError: OSError,
    }
    assert {k.__name__ for k in stands_for} | {"TopworkError"} == {n for n in FACE if n.endswith("Error")}
    for error, builtin in stands_for.items():
        raised = error("this happened", next_step="do that")
        assert isinstance(raised, builtin)
        assert isinstance(raised, topwork.TopworkError)
        assert str(raised) == "this happened\ndo that"


def test_knowing_every_trunk_imports_no_network_library() -> None:
    """A first fit with a network of the catalogue needs none: its graph came along."""
    code = (
        "from topwork import plugins\nassert all(one.card and one.rates for one in plugins.trunks().values())"
    )
    loaded = modules_after(code)
    assert "topwork.trunks.encoder_trunk" in loaded
    assert [
        name for name in ("torch", "torchvision", "timm", "transformers", "tokenizers") if name in loaded
    ] == []
