"""Running a frozen network fast: export to a graph, and engines that run it.

Nothing heavy is imported here; each engine's library is imported when the engine is started.
"""

from __future__ import annotations

from topwork.engines.choice import EngineChoice, build, choose, reference
from topwork.engines.export import export
from topwork.engines.grafting import graft
from topwork.engines.graphs import assemble
from topwork.engines.machine import Machine, survey
from topwork.engines.memory import keep_memory, rest_while_waiting, sum_in_order

__all__ = [
    "EngineChoice",
    "Machine",
    "assemble",
    "build",
    "choose",
    "export",
    "graft",
    "keep_memory",
    "reference",
    "rest_while_waiting",
    "sum_in_order",
    "survey",
]
