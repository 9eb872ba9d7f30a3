"""Findings on the rows: absent classes, rows in two splits, truncated texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from sdp.check.facts import Facts, Finding
from sdp.check.rows import share_in_words
from sdp.data.corpus import few_texts_lines
from sdp.data.profile import DataProfile, SplitProfile
from sdp.recipe.benchmark_tasks import ProblemType

# A smaller share of a split is worth a note, not a warning.
_MUCH = 0.01
_MOST_NAMES = 5
_CONSTANT: Mapping[ProblemType, str] = {
    "tagging": "no word is part of an entity, or all have one tag",
    "multi-label": "no row has a label",
}


def data_findings(facts: Facts) -> Iterator[Finding]:
    """Findings on the data."""
    for line in few_texts_lines(facts.corpus):
        yield Finding("warning", "vocabulary.corpus", line, "files with more text.")
    if facts.unlabeled:
        what = f"{facts.unlabeled:,} rows without labels; the teacher computes what the pruned network learns from them"
        yield Finding("note", "data.unlabeled", what)
    if facts.profile is None:
        return
    for name, split in facts.profile.splits.items():
        if name != "train":
            yield from _constant(facts, name, split)
            yield from _absent(facts, facts.profile, name, split)
            yield from _overlaps(facts, name, split)
        yield from _contradictory(facts, name, split)
    yield from _unlearned(facts, facts.profile.splits["train"])
    yield from _cut(facts)


def _subject(facts: Facts, split: str) -> str:
    return "data.docstrings" if facts.recipe.data.docstrings is not None else f"data.{split}"


def _constant(facts: Facts, name: str, split: SplitProfile) -> Iterator[Finding]:
    if not split.constant:
        return
    what = _CONSTANT.get(facts.recipe.task.problem_type, "every row has the same label")
    parts = f" in {_listed(split.constant)}" if split.constant != ("",) else ""
    sentence = f"{what}{parts}: {facts.recipe.task.score} is undefined there, or cannot distinguish models"
    yield Finding("warning", _subject(facts, name), sentence, f"{name} rows of several classes.")


def _absent(facts: Facts, profile: DataProfile, name: str, split: SplitProfile) -> Iterator[Finding]:
    train = profile.splits["train"]
    absent = [label for label, count in split.classes.items() if count == 0 and train.classes[label] > 0]
    if not absent:
        return
    tagging = facts.recipe.task.problem_type == "tagging"
    kind = "tag" if tagging else "class"
    what = f"{len(absent)} of {len(split.classes)} {kind}{'s' if tagging else 'es'} of train do not occur: "
    what += f"{_listed(absent)}; they are not evaluated"
    yield Finding("note" if tagging else "warning", _subject(facts, name), what, f"{name} rows of every {kind}.")


def _unlearned(facts: Facts, train: SplitProfile) -> Iterator[Finding]:
    """Find classes of a benchmark that this training data lacks."""
    lacking = [label for label, count in train.classes.items() if count == 0]
    if lacking:
        what = f"no row has the label {_listed(lacking, 'or')}: no model can learn it here"
        yield Finding("warning", _subject(facts, "train"), what)


def _overlaps(facts: Facts, name: str, split: SplitProfile) -> Iterator[Finding]:
    for other, overlap in split.also_in.items():
        if not overlap.rows:
            continue
        share = overlap.rows / split.rows
        what = f"{overlap.rows:,} of {split.rows:,} rows ({share:.1%}) have the texts of rows of {other}"
        what += f", {overlap.other_label:,} of them only with another label" if overlap.other_label else ""
        seen = "learned from" if other == "train" else "chosen by"
        what += f": scores on what was {seen} are no scores on new texts"
        yield Finding(_kind(share), _subject(facts, name), what, f"removing them from {other} or {name}.")


def _contradictory(facts: Facts, name: str, split: SplitProfile) -> Iterator[Finding]:
    if split.contradictory:
        share = split.contradictory / split.rows
        what = f"{split.contradictory:,} rows ({share:.1%}) have the texts of another row and a different label"
        yield Finding(
            _kind(share), _subject(facts, name), what, "correcting the labels, or keeping one row of each text."
        )


def _kind(share: float) -> Literal["warning", "note"]:
    return "warning" if share >= _MUCH else "note"


def _cut(facts: Facts) -> Iterator[Finding]:
    if facts.lengths is None:
        return
    limit, lengths = facts.recipe.data.max_length, facts.lengths
    share = float((lengths > limit).mean())
    if share > 0:
        windows = facts.recipe.task.problem_type == "question-answering"
        inputs = "texts" if facts.recipe.task.problem_type == "embedding" else "rows"
        how = "are read in several windows" if windows else "are cut"
        what = f"{share_in_words(share)} of the training {inputs} are longer than {limit} tokens and {how}"
        what += f" (the longest of {len(lengths):,} sampled has {lengths.max():,})"
        yield Finding("note", "data.max_length", what, "a larger max_length, which takes more time and memory.")


def _listed(names: tuple[str, ...] | list[str], joint: str = "and") -> str:
    """Join some names, with the number of the others."""
    shown = ", ".join(names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} {joint} {more} more" if more > 0 else shown
