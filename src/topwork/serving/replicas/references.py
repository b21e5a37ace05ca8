"""What a model says its inputs and answers were like when it was fitted, as JSON, for another process.

It knows no socket and no test for drift. Percentiles travel as their bytes, so that they come as they were.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from topwork.contracts import Array, Json, Profile, Reference

__all__ = ["reference_from_json", "reference_to_json"]


def reference_to_json(reference: Reference) -> dict[str, Json]:
    """Return a reference as JSON."""
    profiles: dict[str, Json] = {
        target: {
            "n": profile.n,
            "counts": {word: dict(counts) for word, counts in profile.counts.items()},
            "spreads": {word: _packed(one) for word, one in profile.spreads.items()},
        }
        for target, profile in reference.profiles.items()
    }
    return {
        "profiles": profiles,
        "traits": _packed(reference.traits),
        "n_traits": len(reference.traits),
        "n_rows": list(reference.n_rows),
        "out_of_domain": reference.out_of_domain,
    }


def reference_from_json(found: Mapping[str, Any]) -> Reference:
    """Read what `reference_to_json` wrote; KeyError, TypeError and ValueError say that it is something else."""
    profiles = {
        target: Profile(
            profile["n"],
            profile["counts"],
            {word: _unpacked(one) for word, one in profile["spreads"].items()},
        )
        for target, profile in found["profiles"].items()
    }
    n_traits = found["n_traits"]
    traits = _unpacked(found["traits"])
    return Reference(
        profiles,
        traits.reshape(n_traits, traits.size // max(1, n_traits)),
        tuple(found["n_rows"]),
        found["out_of_domain"],
    )


def _packed(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")


def _unpacked(written: str) -> Array:
    return np.frombuffer(base64.b64decode(written, validate=True), dtype="<f4").astype(np.float32)
