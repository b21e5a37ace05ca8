"""The errors that topwork raises, grouped by who must act.

Every error says what was received, what was expected and what to do next. Each one also inherits the
built-in it stands for, so that code which knows nothing of topwork catches it as it would expect.

::

    TopworkError
    ├── the caller changes a call or its input
    │   ├── UsageError(ValueError)         an option, a name or a combination that cannot work
    │   ├── DataError(ValueError)          a data set that cannot be used as it is
    │   └── DecodeError(ValueError)        one input that cannot be read; the others can
    ├── the caller gets another file
    │   └── BundleError(ValueError)        a bundle that is damaged, tampered with or too new
    │       └── ProofError                 a network that no longer answers as it did when it was fitted
    ├── whoever runs the machine
    │   ├── StorageError(OSError)          no room, no permission, a lost disk
    │   ├── WeightsError(OSError)          pretrained weights that cannot be had or are not what they claim
    │   └── MissingExtraError(ImportError) an optional dependency that is not installed
    └── whoever wrote the plugin
        └── PluginError(TypeError)         an entry point that does not load or does not keep the contract
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "DataError",
    "DecodeError",
    "MissingExtraError",
    "PluginError",
    "ProofError",
    "StorageError",
    "TopworkError",
    "UsageError",
    "WeightsError",
]


class TopworkError(Exception):
    """Anything that topwork refuses to do, with the next step.

    Parameters
    ----------
    problem
        What was received and what was expected, in one or two sentences.
    next_step
        What the reader can do about it, in one sentence.
    """

    def __init__(self, problem: str, *, next_step: str = "") -> None:
        super().__init__(problem if not next_step else f"{problem}\n{next_step}")
        self.problem = problem
        self.next_step = next_step


class UsageError(TopworkError, ValueError):
    """An option, a name or a combination that cannot work."""


class DataError(TopworkError, ValueError):
    """A data set that cannot be used as it is."""


class DecodeError(TopworkError, ValueError):
    """One input that cannot be read; the others can."""


class BundleError(TopworkError, ValueError):
    """A bundle that is damaged, tampered with, or written by a newer version."""


class ProofError(BundleError):
    """A network that no longer gives the answers that it gave when it was fitted."""


class StorageError(TopworkError, OSError):
    """No room, no permission, or a disk that went away."""


class WeightsError(TopworkError, OSError):
    """Pretrained weights that cannot be had, or that are not what they claim to be."""


class MissingExtraError(TopworkError, ImportError):
    """An optional dependency that is not installed."""


class PluginError(TopworkError, TypeError):
    """An entry point that does not load, or that does not keep its contract."""
