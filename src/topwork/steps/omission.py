"""What a bundle need not hold, because its trunk has it: asked for by `FitOptions.adapter_only`.

It knows no format: what is left out of the file, and how it comes back, is the bundle's business.
"""

from __future__ import annotations

from topwork.bundle.base import Omission
from topwork.contracts import Fitted, Graph
from topwork.errors import UsageError
from topwork.steps.onward import BundleTrunk
from topwork.steps.order import Order

__all__ = ["omission_of", "require_base"]


def omission_of(order: Order, graph: Graph, fitted: Fitted) -> Omission | None:
    """Return what to leave out of a bundle; ``graph`` is the trunk's own, before training."""
    if not order.options.adapter_only:
        return None
    return Omission(order.trunk, graph.weights, fitted.products)


def require_base(order: Order) -> None:
    """Refuse to leave out a base that nobody could get by its name, before any work is done.

    Raises
    ------
    UsageError
        The base is a bundle.
    """
    if order.options.adapter_only and isinstance(order.trunk, BundleTrunk):
        raise UsageError(
            f"A bundle that goes on from {order.trunk.bundle.path.name} cannot leave its base out: that is no trunk "
            "with a name.",
            next_step="Leave out --adapter-only or --from.",
        )
