"""A few long film reviews of each class, those of IMDB; see `fewshot`."""

from __future__ import annotations

from benchmarks.fewshot import of_source
from benchmarks.place import Place
from benchmarks.results import Section


def measure(place: Place) -> Section:
    """Go through all numbers of examples of IMDB."""
    return of_source(place, "imdb", "fewshot_imdb", "A few long film reviews of each class")
