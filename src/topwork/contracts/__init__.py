"""The protocols and frozen values that every room speaks.

It knows no modality, no network library and no file format; it imports NumPy for the type of an array
and nothing else. Read it once and the signatures of the whole house make sense:

- *data*: a :class:`Dataset` is read, each item :class:`Inspection`-ed, the rows :class:`Split`;
- *transfer*: a :class:`Trunk` is exported to a :class:`Graph`, which an :class:`Engine` runs;
- *fitting*: a :class:`Recipe` turns a :class:`FitJob` into :class:`Fitted` heads for :class:`Target`-s;
- *results*: a :class:`FitRecord` is all that a report renders, a :class:`Servable` all that a server sees.

Everything that names results is keyed by target.
"""

from topwork.contracts.batches import by_shape, padded
from topwork.contracts.data import Dataset, Fold, Inspection, Rejected, Side, Split
from topwork.contracts.fitting import (
    Afterwards,
    FitJob,
    Fitted,
    Forecast,
    Goal,
    Link,
    Material,
    Mistake,
    Moment,
    PoolingRecipe,
    Recipe,
    Resources,
    Rung,
    Target,
    Task,
    Workplace,
    has_classes,
    has_one_label,
)
from topwork.contracts.inputs import Decoded, Modality, Preprocessing, Shown, Wire
from topwork.contracts.networks import (
    Divisible,
    Engine,
    Exportable,
    Graph,
    LinearHead,
    LowRank,
    Precision,
    Rates,
    Stage,
    TextTrunk,
    Trunk,
    TrunkCard,
    Words,
)
from topwork.contracts.record import (
    Comparison,
    DataSummary,
    FitRecord,
    Growth,
    SplitSummary,
    TargetResult,
    TriedTrunk,
    TrunkChoice,
)
from topwork.contracts.regions import CutsRegions
from topwork.contracts.sampling import Beginning, Sample, SamplingRecipe
from topwork.contracts.sections import Chart, Gallery, Matrix, Picture, Piece, Point, Section, Series, Table
from topwork.contracts.serving import Answer, Servable
from topwork.contracts.values import (
    Array,
    Budget,
    Clock,
    Estimate,
    Json,
    Metrics,
    Progress,
    joint_strata,
    known_rows,
    row_numbers,
    strata_of,
)

__all__ = [
    "Afterwards",
    "Answer",
    "Array",
    "Beginning",
    "Budget",
    "Chart",
    "Clock",
    "Comparison",
    "CutsRegions",
    "DataSummary",
    "Dataset",
    "Decoded",
    "Divisible",
    "Engine",
    "Estimate",
    "Exportable",
    "FitJob",
    "FitRecord",
    "Fitted",
    "Fold",
    "Forecast",
    "Gallery",
    "Goal",
    "Graph",
    "Growth",
    "Inspection",
    "Json",
    "LinearHead",
    "Link",
    "LowRank",
    "Material",
    "Matrix",
    "Metrics",
    "Mistake",
    "Modality",
    "Moment",
    "Picture",
    "Piece",
    "Point",
    "PoolingRecipe",
    "Precision",
    "Preprocessing",
    "Progress",
    "Rates",
    "Recipe",
    "Rejected",
    "Resources",
    "Rung",
    "Sample",
    "SamplingRecipe",
    "Section",
    "Series",
    "Servable",
    "Shown",
    "Side",
    "Split",
    "SplitSummary",
    "Stage",
    "Table",
    "Target",
    "TargetResult",
    "Task",
    "TextTrunk",
    "TriedTrunk",
    "Trunk",
    "TrunkCard",
    "TrunkChoice",
    "Wire",
    "Words",
    "Workplace",
    "by_shape",
    "has_classes",
    "has_one_label",
    "joint_strata",
    "known_rows",
    "padded",
    "row_numbers",
    "strata_of",
]
