"""What is said where a package for serving is not installed. It knows no package."""

from __future__ import annotations

from topwork.errors import MissingExtraError

__all__ = ["missing"]


def missing(error: ImportError) -> MissingExtraError:
    """Return the error for a package that could not be imported."""
    return MissingExtraError(
        f"Serving needs the package {error.name!r}, which is not installed.",
        next_step="Install topwork with its extra serve.",
    )
