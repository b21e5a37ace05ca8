"""The verbs: each takes words and objects, wires the rooms below, and gives a result back.

A verb decides in which order things happen; how each of them is done stands in the rooms. It prints nothing
save through the progress that it is given.
"""

from topwork.steps.options import FitOptions, Surroundings
from topwork.verbs.checking import DataCheck, check
from topwork.verbs.checking_texts import TextCheck, check_texts
from topwork.verbs.comparing import BundleComparison, compare
from topwork.verbs.embedding import Embeddings, embed
from topwork.verbs.estimating import FitEstimate, estimate
from topwork.verbs.estimating_texts import estimate_writer
from topwork.verbs.evaluating import evaluate
from topwork.verbs.exporting import Export, export
from topwork.verbs.finding import RateSearch, find_rate
from topwork.verbs.fitting import fit
from topwork.verbs.handing_on import WriterExport, export_writer, writes_texts
from topwork.verbs.keeping import keep
from topwork.verbs.mending_texts import MendedTexts, mend_texts
from topwork.verbs.model import Model, Prediction
from topwork.verbs.optimizing import Optimization, optimize
from topwork.verbs.predicting import load, predict
from topwork.verbs.rewriting import DEFAULT_WRITING_RECIPE, fit_writer
from topwork.verbs.serving import serve
from topwork.verbs.writing import Passage, Writer, writer

__all__ = [
    "DEFAULT_WRITING_RECIPE",
    "BundleComparison",
    "DataCheck",
    "Embeddings",
    "Export",
    "FitEstimate",
    "FitOptions",
    "MendedTexts",
    "Model",
    "Optimization",
    "Passage",
    "Prediction",
    "RateSearch",
    "Surroundings",
    "TextCheck",
    "Writer",
    "WriterExport",
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
    "writes_texts",
]
