"""The data source of a recipe: [data], with missing columns and splits filled in from a known task.

Names of files, splits and configurations may hold one placeholder, "{language}" or "{subset}": such a split is read
part by part, and every row stores its part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdp.data.rows import SPLITS, SplitName
from sdp.errors import DataError
from sdp.recipe.sections import Recipe

SUFFIXES = (".tsv", ".csv", ".jsonl", ".parquet")
LANGUAGE = "{language}"
SUBSET = "{subset}"


@dataclass(frozen=True)
class Source:
    """The place of the rows and the names of their columns.

    Attributes:
        dataset: hub id or local folder in hub form; None where the splits are files.
        config: configuration of the data set; may hold "{language}".
        revision: revision of a hub data set.
        splits: split -> file, or name of the data set's split; may hold a placeholder.
        text: the text columns, one to three.
        label: the label column; one column a label for a multi-label task of several.
        group: the column that forms the lists of a ranking; None for other tasks.
        texts_alone: whether training rows have no label, as for embeddings.
    """

    dataset: str | None
    config: str | None
    revision: str | None
    splits: dict[SplitName, str]
    text: tuple[str, ...]
    label: tuple[str, ...]
    group: str | None = None
    texts_alone: bool = False

    def columns_of(self, split: SplitName) -> tuple[str, ...]:
        """Every column of a split that is read, each once."""
        if split == "train" and self.texts_alone:
            return self.text
        return tuple(dict.fromkeys((*self.text, *self.label, *((self.group,) if self.group else ()))))


@dataclass(frozen=True)
class Part:
    """One part of a split: the values of the placeholder; both are "" without a placeholder."""

    placeholder: str
    name: str

    def fill(self, text: str) -> str:
        """Return the name with the placeholder filled in."""
        return text.replace(self.placeholder, self.name) if self.placeholder else text


def is_file_name(name: str) -> bool:
    """Whether a value of data.train (dev, test) names a file rather than a split of a data set."""
    return name.removesuffix(".gz").endswith(SUFFIXES)


def resolve_source(recipe: Recipe) -> Source:
    """Complete [data] from the known task. The recipe's keys take precedence; files replace the task's data set."""
    data, task = recipe.data, recipe.task.known
    given: dict[SplitName, str] = {split: name for split in SPLITS if (name := getattr(data, split)) is not None}
    text = data.text or (task.text if task else ())
    named = data.label or (task.label if task else "label")
    label = (named,) if isinstance(named, str) else named
    group = data.group or (task.group if task else None)
    texts_alone = recipe.task.problem_type == "embedding"
    if data.dataset is None and (task is None or any(is_file_name(name) for name in given.values())):
        return Source(None, None, None, given, text, label, group, texts_alone)
    if task is not None:
        known: dict[SplitName, str | None] = {"train": task.train, "dev": task.dev, "test": task.test}
        given = {**{split: name for split, name in known.items() if name is not None}, **given}
    dataset = data.dataset or (task.dataset if task else None)
    config = data.config or (task.config if task else None)
    # A local folder has its own configurations: the task's name belongs to the task's data set. Configurations that are
    # languages are kept: a copy of the data set has them too.
    if dataset and Path(dataset).is_dir() and not data.config and not _has_config(Path(dataset), config):
        config = None
    return Source(dataset, config, data.revision, given, text, label, group, texts_alone)


def _has_config(folder: Path, config: str | None) -> bool:
    """Whether a folder in hub form declares a configuration, or has languages as configurations."""
    if config is None:
        return False
    if LANGUAGE in config:
        return True
    readme = folder / "README.md"
    return readme.is_file() and f"config_name: {config}\n" in readme.read_text(encoding="utf-8", errors="replace")


def text_names(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the texts of a row; a docstring has no column, and its name is "text"."""
    return resolve_source(recipe).text or ("text",)


def part_kind(recipe: Recipe, *names: str | None) -> Literal["language", "subset"] | None:
    """Return the kind of the parts of a split with such names; None where no name has a placeholder.

    Raises:
        DataError: the names hold both placeholders.
    """
    language, subset = (any(name and mark in name for name in names) for mark in (LANGUAGE, SUBSET))
    if language and subset:
        raise DataError('names hold "{language}" or "{subset}", not both', where="data")
    if subset and not recipe.task.subset_names:
        raise DataError('a name holds "{subset}", and no subsets are named', where="data", hint="Set task.subsets.")
    return "language" if language else "subset" if subset else None


def check_parts(recipe: Recipe, source: Source) -> None:
    """Check that the data distinguishes the languages or subsets that a recipe names.

    Raises:
        DataError: no name in the data has a placeholder for them.
    """
    names = (source.config, *source.splits.values())
    for key, mark in (("eval_languages", LANGUAGE), ("subsets", SUBSET)):
        given = getattr(recipe.task, key)
        if isinstance(given, tuple) and len(given) > 1 and not any(name and mark in name for name in names):
            what = f'no name in [data] holds "{mark}": {", ".join(given)} would be the same rows'
            hint = f'Put "{mark}" into data.dev or data.test, or remove task.{key}.'
            raise DataError(what, where=f"task.{key}", hint=hint)


def parts_of(recipe: Recipe, split: SplitName, *names: str | None) -> tuple[Part, ...]:
    """Return the parts of a split with such names, parts for choices first; one empty part without a placeholder."""
    kind = part_kind(recipe, *names)
    if kind is None:
        return (Part("", ""),)
    if kind == "subset":
        return tuple(Part(SUBSET, name) for name in recipe.task.subset_names)
    evaluated = {"train": (), "dev": recipe.task.languages, "test": recipe.task.languages}[split]
    # Training uses the dev rows of its own languages even if these are not evaluated.
    own = recipe.task.train_languages if split != "test" else ()
    return tuple(Part(LANGUAGE, name) for name in dict.fromkeys((*own, *evaluated)))
