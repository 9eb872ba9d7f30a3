"""Which source a recipe means, with the known task's columns and splits filled in where [data] is silent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdp.data.rows import SPLITS, SplitName
from sdp.recipe.sections import Recipe
from sdp.tasks import find_task

SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")
LANGUAGE = "{language}"


@dataclass(frozen=True)
class Source:
    """Where rows are and what their columns are called.

    Attributes:
        dataset: hub id or local folder in hub form; None where the splits are files.
        config: configuration of the data set; may hold "{language}".
        revision: of a hub data set.
        splits: split -> file, or name of the data set's split; may hold "{language}".
        text: the one or two text columns.
        label: the label column.
    """

    dataset: str | None
    config: str | None
    revision: str | None
    splits: dict[SplitName, str]
    text: tuple[str, ...]
    label: str


def is_file_name(name: str) -> bool:
    """Whether a value of data.train (dev, test) names a file rather than a split of a data set."""
    return name.removesuffix(".gz").endswith(SUFFIXES)


def resolve_source(recipe: Recipe) -> Source:
    """Fill in what the task knows. The recipe's own keys win; files given for a known task replace its data set."""
    data = recipe.data
    given: dict[SplitName, str] = {split: name for split in SPLITS if (name := getattr(data, split)) is not None}
    task = find_task(recipe.task.name) if recipe.task.name is not None else None
    text = data.text or (task.text if task else ())
    label = data.label or (task.label if task else "label")
    if data.dataset is None and (task is None or any(is_file_name(name) for name in given.values())):
        return Source(None, None, None, given, text, label)
    if task is not None:
        known: dict[SplitName, str | None] = {"train": task.train, "dev": task.dev, "test": task.test}
        given = {**{split: name for split, name in known.items() if name is not None}, **given}
    dataset = data.dataset or (task.dataset if task else None)
    # A folder of one's own has its own configurations: the task's belongs to the task's data set.
    config = data.config or (task.config if task and not (dataset and Path(dataset).is_dir()) else None)
    return Source(dataset, config, data.revision, given, text, label)


def languages_of(recipe: Recipe, split: SplitName, *names: str | None) -> tuple[str, ...]:
    """The languages to fill into the names of a split; ("",) where no name has a place for one."""
    if not any(name is not None and LANGUAGE in name for name in names):
        return ("",)
    return recipe.task.train_languages if split == "train" else recipe.task.languages
