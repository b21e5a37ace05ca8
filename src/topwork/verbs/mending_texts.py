"""`mend_texts`: a copy of texts to write like with what is odd about them mended; nothing is trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from topwork.data.corpus import Corpus, read_corpus
from topwork.data.corpus_lines import LINES_SUFFIXES, lines_of, require_lines
from topwork.data.corpus_mending import Mended, chosen, keep_short, mend_corpus, told_mended
from topwork.errors import DataError, UsageError
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.places import require_file_place
from topwork.storage import write_atomically
from topwork.verbs.checking_texts import TextCheck, TextCounter, checked

__all__ = ["MendedTexts", "mend_texts"]


@dataclass(frozen=True, slots=True, eq=False)
class MendedTexts:
    """What became of texts.

    Attributes
    ----------
    path
        The copy, JSON lines in UTF-8.
    before
        The texts as they were; a finding whose ``mending`` is ``done`` says what was done about it.
    after
        The copy, as a fit will see it.
    counts
        Texts that each remedy changed or left out.
    ending
        What every prompt ends in now, and what the model is asked has to end in; None where that was not mended.
    columns
        What ``--input`` or `FitOptions.input` has to say of the copy; None where it need not be said.
    """

    path: Path
    before: TextCheck
    after: TextCheck
    counts: Mapping[str, int]
    ending: str | None
    columns: str | None


def mend_texts(
    data: str | Path,
    out: str | Path,
    *,
    also: Collection[str] = (),
    leave: Collection[str] = (),
    trunk: str | None = None,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> MendedTexts:
    """Write a copy of texts to write like with what is odd about them mended, and check both.

    What cannot be used is left out; bytes of other encodings and letters such as “Ã©” become what they were; prompts
    end alike; completions begin alike; equal texts are kept once. The data stay as they are.

    Parameters
    ----------
    data, trunk, seed, options, around
        As `check_texts` has them.
    out
        File to write, ``.jsonl``; there must be none.
    also
        Remedies that may leave out what is meant: ``several`` keeps the first completion of each prompt, ``told``
        leaves out completions that stand in their prompts, ``long`` prompts and chats that are longer than a row.
    leave
        Remedies not to apply: ``encoding``, ``letters``, ``separators``, ``blanks``, ``duplicates``.

    Raises
    ------
    DataError
        There are no texts, none is left, or they are a story tree or of several kinds.
    UsageError
        There is no such remedy or model, or ``out`` cannot be what is written.
    StorageError
        The file cannot be written.
    """
    options, around, path = options or FitOptions(), around or Surroundings(), Path(out)
    remedies = chosen(also, leave)
    _require_place(path, Path(data))
    count = TextCounter.of(trunk, around)
    corpus = read_corpus(data, options.input)
    require_lines(corpus)
    before = checked(corpus, count(corpus), count.length, seed)
    around.progress.say("Mending them")
    is_read_anew = "encoding" in remedies and any(one.name == "encoding" for one in before.findings)
    source = read_corpus(data, options.input, is_mended=True) if is_read_anew else corpus
    mended, n_tokens = _mended(source, remedies, count)
    written = _write(path, mended.corpus)
    return MendedTexts(
        path,
        replace(before, findings=told_mended(before.findings, mended, remedies)),
        checked(written, n_tokens, count.length, seed),
        mended.counts,
        mended.ending,
        ",".join(corpus.columns) or None,
    )


def _require_place(out: Path, data: Path) -> None:
    """Refuse what a fit would not know for lines, what is there, and what would stand among the data."""
    if out.suffix.lower() not in LINES_SUFFIXES:
        raise UsageError(
            f"Mended texts are JSON lines; {out} does not end in {' or '.join(LINES_SUFFIXES)}.",
            next_step=f"Call it {out.with_suffix(LINES_SUFFIXES[0]).name or 'mended.jsonl'}.",
        )
    if out.exists():
        raise UsageError(f"{out} is there already.", next_step="Give another name, or take that file away.")
    if data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise UsageError(
            f"{out} would stand among the data, in {data}.", next_step="Give a name outside that folder."
        )
    require_file_place(out)


def _mended(corpus: Corpus, remedies: Collection[str], count: TextCounter) -> tuple[Mended, Sequence[int]]:
    mended = mend_corpus(corpus, remedies)
    n_tokens = count(mended.corpus)
    if "long" in remedies:
        mended, n_tokens = keep_short(mended, n_tokens, count.length)
    if not mended.corpus.documents:
        raise DataError(
            "Nothing is left of the texts: each was left out.", next_step="Ask for fewer remedies."
        )
    return mended, n_tokens


def _write(path: Path, corpus: Corpus) -> Corpus:
    """Write texts, and return them as a fit will read them."""
    write_atomically(path, lines_of(corpus))
    return read_corpus(path, ",".join(corpus.columns) or None)
