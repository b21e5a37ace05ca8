"""The frozen artifact and its proof: one file that holds a model, opens as a servable, and is never code.

`save` writes a `Contents`; `open_bundle` reads it back as a `Bundle`; `open_model` puts an engine under it.
"""

from topwork.bundle.compiling import open_model
from topwork.bundle.contents import Bundle, Contents, open_bundle, save
from topwork.bundle.goldens import TOLERANCE, Golden, make_goldens, replay
from topwork.bundle.model import BundleModel, Scored
from topwork.bundle.record import record_from_json, record_to_json

__all__ = [
    "TOLERANCE",
    "Bundle",
    "BundleModel",
    "Contents",
    "Golden",
    "Scored",
    "make_goldens",
    "open_bundle",
    "open_model",
    "record_from_json",
    "record_to_json",
    "replay",
    "save",
]
