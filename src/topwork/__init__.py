"""Data in, a proven model out, a production API behind it.

>>> import topwork as tw
>>> model = tw.fit("photos/")              # doctest: +SKIP
>>> model.predict("new.jpg")               # doctest: +SKIP
>>> model.save("photos.topwork")           # doctest: +SKIP

The names below are the whole public face. Importing this module imports nothing heavy: each name is
looked up in its room when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
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
]

if TYPE_CHECKING:
    from topwork.errors import (
        BundleError,
        DataError,
        DecodeError,
        MissingExtraError,
        PluginError,
        ProofError,
        StorageError,
        TopworkError,
        UsageError,
        WeightsError,
    )
    from topwork.verbs import (
        FitOptions,
        Model,
        Prediction,
        Surroundings,
        Writer,
        check,
        check_texts,
        compare,
        embed,
        estimate,
        estimate_writer,
        evaluate,
        export,
        export_writer,
        find_rate,
        fit,
        fit_writer,
        keep,
        load,
        mend_texts,
        optimize,
        predict,
        serve,
        writer,
    )
    from topwork.verbs.estimators import TopworkClassifier, TopworkRegressor

_ESTIMATORS = ("TopworkClassifier", "TopworkRegressor")
_ROOMS = {
    "topwork.errors": tuple(name for name in __all__ if name.endswith("Error")),
    "topwork.verbs.estimators": _ESTIMATORS,
    "topwork.verbs": tuple(name for name in __all__ if not name.endswith(("Error", "__", *_ESTIMATORS))),
}


def __getattr__(name: str) -> object:
    """Import the room that holds ``name`` when it is first asked for."""
    from importlib import import_module

    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(room), name)
    raise AttributeError(f"module 'topwork' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public face."""
    return sorted(__all__)
