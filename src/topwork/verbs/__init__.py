"""The verbs: each takes words and objects, wires the rooms below, and gives a result back.

A verb decides in which order things happen; how each of them is done stands in the rooms. It prints nothing
save through the progress that it is given.
"""

from topwork.verbs.check import DataCheck, check
from topwork.verbs.evaluate import evaluate
from topwork.verbs.fit import fit
from topwork.verbs.model import Model, Prediction
from topwork.verbs.options import FitOptions, Surroundings
from topwork.verbs.predict import load, predict
from topwork.verbs.serve import serve

__all__ = [
    "DataCheck",
    "FitOptions",
    "Model",
    "Prediction",
    "Surroundings",
    "check",
    "evaluate",
    "fit",
    "load",
    "predict",
    "serve",
]
