"""`writer`: a language model that goes on with texts, as users of gpt-2-simple know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Literal, overload

from topwork import plugins
from topwork.bundle.contents import Bundle, open_bundle
from topwork.bundle.writing import prove_writing, vocabulary_of
from topwork.contracts import FitRecord, Precision, Sampling
from topwork.engines.sampling import drawn, require, said
from topwork.engines.writing import Decoder, Opening, write
from topwork.errors import UsageError
from topwork.inputs.conditions import beginning_of
from topwork.inputs.drafts import DELIMITER, Draft, Passage
from topwork.inputs.vocabulary import Spelling, Vocabulary
from topwork.steps.options import Surroundings
from topwork.steps.places import TemporaryFolder
from topwork.steps.writers import engine_on, graph_of
from topwork.storage import write_atomically
from topwork.trunks import DEFAULT_WRITER, resolve_writer

__all__ = ["Passage", "Writer", "writer"]

_BUNDLE = ".topwork"


@dataclass(frozen=True, slots=True, eq=False)
class Writer:
    """A language model that is ready; safe from several threads, which take turns.

    Attributes
    ----------
    name
        What it was opened as.
    bundle
        Where it comes from, where that is a bundle; ``folder`` where that vanishes with this object.
    """

    name: str
    vocabulary: Vocabulary
    decoder: Decoder
    around: Surroundings = field(default_factory=Surroundings)
    bundle: Bundle | None = None
    folder: TemporaryFolder | None = None
    _turn: Lock = field(default_factory=Lock)

    @property
    def path(self) -> Path:
        """Return where its bundle is.

        Raises
        ------
        UsageError
            It was never fitted here.
        """
        if self.bundle is None:
            raise UsageError(f"{self.name} was not fitted here, so that there is no bundle of it.")
        return self.bundle.path

    @property
    def record(self) -> FitRecord:
        """Return the record of the fit.

        Raises
        ------
        UsageError
            It was never fitted here.
        """
        if self.bundle is None:
            raise UsageError(f"{self.name} was not fitted here, so that there is no record of it.")
        return self.bundle.record()

    def save(self, path: str | Path) -> None:
        """Copy the bundle to ``path``, whole or not at all.

        Raises
        ------
        UsageError
            It was never fitted here.
        StorageError
            It cannot be written.
        """
        write_atomically(Path(path), self.path.read_bytes())

    @overload
    def generate(
        self,
        prefix: str = "",
        *,
        length: int = ...,
        n_samples: int = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        repetition_penalty: float | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] = ...,
        truncate: str | None = ...,
        include_prefix: bool = ...,
        given: Mapping[str, str] | None = ...,
        as_list: Literal[True],
    ) -> list[str]: ...
    @overload
    def generate(
        self,
        prefix: str = "",
        *,
        length: int = ...,
        n_samples: int = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        top_p: float | None = ...,
        min_p: float | None = ...,
        repetition_penalty: float | None = ...,
        seed: int | None = ...,
        stop: str | Sequence[str] = ...,
        truncate: str | None = ...,
        include_prefix: bool = ...,
        given: Mapping[str, str] | None = ...,
        as_list: Literal[False] = ...,
    ) -> str: ...
    def generate(
        self,
        prefix: str = "",
        *,
        length: int = 200,
        n_samples: int = 1,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        truncate: str | None = None,
        include_prefix: bool = True,
        given: Mapping[str, str] | None = None,
        as_list: bool = False,
    ) -> str | list[str]:
        """Go on with a text.

        Parameters
        ----------
        prefix
            What the texts begin with.
        length
            Tokens to be written at most.
        n_samples
            Texts, written all at once.
        temperature, top_k, top_p, min_p, repetition_penalty, seed
            As `topwork.contracts.Sampling` has them; by default as the model was made to be used.
        stop, truncate
            Texts that end it; they are no part of it, and nothing is written beyond.
        include_prefix
            Whether the texts are given with what they begin with.
        given
            What the texts are written by, where the model was fitted on several columns; it is not shown.
        as_list
            Whether a list is given, of one text too; else texts come as one, with a line of ``=`` between them.

        Raises
        ------
        UsageError
            A setting makes no sense, or there is no room for so long a text.
        """
        bounds = {"top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty}
        sampling = said(self.vocabulary.sampling, {**bounds, "temperature": temperature, "seed": seed})
        stops = (*((stop,) if isinstance(stop, str) else stop), *(() if truncate is None else (truncate,)))
        whole = self.beginning(given or {}) + prefix
        passages = self.passages(whole, length=length, n_samples=n_samples, sampling=sampling, stops=stops)
        texts = [prefix + one.text if include_prefix else one.text for one in passages]
        return texts if as_list else f"\n{DELIMITER}\n".join(texts)

    def beginning(self, given: Mapping[str, str]) -> str:
        """Return what stands before texts that are written by these values, by the columns that it was fitted on.

        Raises
        ------
        UsageError
            There is no such column.
        """
        return beginning_of(given, self.vocabulary.columns) if given else ""

    def generate_to_file(
        self,
        path: str | Path,
        prefix: str = "",
        *,
        length: int = 200,
        n_samples: int = 1,
        sampling: Sampling | None = None,
    ) -> None:
        """Write texts into a file, with a line of ``=`` after each.

        Raises
        ------
        UsageError
            As `generate` has it.
        StorageError
            It cannot be written.
        """
        passages = self.passages(prefix, length=length, n_samples=n_samples, sampling=sampling)
        content = "".join(f"{prefix}{one.text}\n{DELIMITER}\n" for one in passages)
        write_atomically(Path(path), content.encode("utf-8"))

    def passages(
        self,
        prefix: str = "",
        *,
        length: int = 200,
        n_samples: int = 1,
        sampling: Sampling | None = None,
        stops: Sequence[str] = (),
    ) -> list[Passage]:
        """Go on with a text, and tell token by token what was written; see `generate`."""
        if n_samples < 1:
            raise UsageError(f"n_samples is {n_samples}; expected 1 or more.")
        opening = self._opening(prefix, length, sampling or self.vocabulary.sampling)
        openings = [replace(opening, sampling=drawn(opening.sampling, i)) for i in range(n_samples)]
        drafts = [Draft(Spelling(self.vocabulary, stops)) for _ in openings]
        total = n_samples * length
        with self._turn, self.around.progress.track("Writing", total, "tokens") as advance:
            leaving = _Leaving()
            for one in write(self.decoder, openings, leaving):
                draft = drafts[one.number]
                draft.take(one)
                if draft.ending is not None:
                    leaving.numbers.add(one.number)
                advance(1)
        return [draft.passage() for draft in drafts]

    def stream(
        self,
        prefix: str = "",
        *,
        length: int = 200,
        sampling: Sampling | None = None,
        stops: Sequence[str] = (),
    ) -> Iterator[str]:
        """Go on with a text, and give it piece by piece as it is written, without the prefix; see `generate`."""
        opening = self._opening(prefix, length, sampling or self.vocabulary.sampling)
        draft = Draft(Spelling(self.vocabulary, stops))
        with self._turn:
            for one in write(self.decoder, [opening]):
                if piece := draft.take(one):
                    yield piece
                if draft.ending is not None:
                    return

    def _opening(self, prefix: str, length: int, sampling: Sampling) -> Opening:
        if length < 1:
            raise UsageError(f"length is {length}; expected 1 or more.")
        tokens = tuple(self.vocabulary.opening(prefix))
        window = self.vocabulary.window
        if len(tokens) + length > window:
            raise UsageError(
                f"The text has {len(tokens):,} tokens and is to become {length:,} longer; {self.name} sees {window:,}.",
                next_step=f"Ask for at most {max(0, window - len(tokens)):,}, or begin with less.",
            )
        return Opening(tokens, length, require(sampling), frozenset(self.vocabulary.ends))


def writer(
    model: str | Path = DEFAULT_WRITER,
    *,
    precision: Precision | None = None,
    around: Surroundings | None = None,
) -> Writer:
    """Open a language model.

    Parameters
    ----------
    model
        A bundle, a name of the catalogue, ``hf/ORG/NAME``, or a folder that transformers' ``save_pretrained`` has
        written.
    precision
        What it computes in, ``fp32`` for transformers' own answers; by default ``bf16`` where the machine has that.

    Raises
    ------
    UsageError
        There is no such model, or it cannot be run here.
    WeightsError
        Its weights cannot be had.
    BundleError
        It is a bundle that is damaged, or that writes nothing.
    """
    around = around or Surroundings()
    if Path(model).is_file() or Path(model).suffix == _BUNDLE:
        return open_writer_bundle(Path(model), precision, around)
    found = resolve_writer(str(model), plugins.writers())
    vocabulary: Vocabulary = found.vocabulary()
    engine = engine_on(graph_of(found, around), precision, around, config=vocabulary.config)
    return Writer(found.card.name, vocabulary, engine, around)


def open_writer_bundle(path: Path, precision: Precision | None, around: Surroundings) -> Writer:
    """Open a bundle that holds a language model, and let it prove itself; see `writer`."""
    bundle = open_bundle(path)
    vocabulary = vocabulary_of(bundle)
    engine = engine_on(bundle.graph(), precision, around, config=vocabulary.config)
    prove_writing(bundle, vocabulary, engine)
    return Writer(path.stem, vocabulary, engine, around, bundle)


# --- small parts ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Leaving:
    """Texts that ended by their letters, which the batch does not see."""

    numbers: set[int] = field(default_factory=set)

    def admit(self) -> Sequence[Opening]:
        return ()

    def gone(self) -> set[int]:
        return self.numbers
