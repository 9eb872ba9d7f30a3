"""What `sdp check` reads of the task's data: all of it, so that it fails where `sdp run` would. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sdp.data.corpus import count_texts
from sdp.data.corpus_rows import corpus_rows
from sdp.data.identity import count_rows
from sdp.data.load import load_task_data
from sdp.data.profile import DataProfile, profile_data
from sdp.data.rows import Split, TaskData
from sdp.data.source import resolve_source
from sdp.recipe.sections import Recipe


@dataclass(frozen=True)
class Rows:
    """What is known of a task's rows.

    Attributes:
        counts: split -> number of rows; None where there is no such split, or it is not known.
        profile: what they are; None where they are still on the hub.
        train: the training rows; None there too.
        corpus: texts by language that [vocabulary] counts; empty without it, or where they are on the hub.
    """

    counts: dict[str, int | None]
    profile: DataProfile | None = None
    train: Split | None = None
    corpus: Mapping[str, int] = field(default_factory=dict)


def read_rows(recipe: Recipe) -> Rows:
    """Read a task's data from this machine.

    Raises:
        DataError: a file or a row cannot be used, the split to evaluate on is not there, or [vocabulary] names what is
            not.
    """
    source = None if recipe.data.docstrings is not None else resolve_source(recipe)
    if source is not None and source.dataset is not None and not Path(source.dataset).is_dir():
        return Rows(count_rows(recipe), corpus=_corpus(recipe, None))
    data = load_task_data(recipe)
    data.evaluation(recipe.evaluate.split)
    splits = {"train": data.train, "dev": data.dev, "test": data.test}
    counts = {name: None if split is None else len(split) for name, split in splits.items()}
    return Rows(counts, profile_data(data), data.train, _corpus(recipe, data))


def _corpus(recipe: Recipe, data: TaskData | None) -> dict[str, int]:
    """Texts by language for [vocabulary]."""
    section = recipe.vocabulary
    if section is None or (section.corpus is None and data is None):
        return {}
    return count_texts(recipe, section, () if data is None else corpus_rows(recipe, data))
