"""Which source a recipe means, with the known task's columns and splits filled in where [data] is silent.

Names of files, splits and configurations may hold one placeholder, "{language}" or "{subset}": the rows of such a split
are read part by part, and every row remembers the part it is from.
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
    """Where rows are and what their columns are called.

    Attributes:
        dataset: hub id or local folder in hub form; None where the splits are files.
        config: configuration of the data set; may hold "{language}".
        revision: of a hub data set.
        splits: split -> file, or name of the data set's split; may hold a placeholder.
        text: the text columns, one to three.
        label: the label column.
        group: the column that forms the lists of a ranking; None for other tasks.
    """

    dataset: str | None
    config: str | None
    revision: str | None
    splits: dict[SplitName, str]
    text: tuple[str, ...]
    label: str
    group: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, each once."""
        return tuple(dict.fromkeys((*self.text, self.label, *((self.group,) if self.group else ()))))


@dataclass(frozen=True)
class Part:
    """One part of a split: what stands for the placeholder in the names; both are "" where there is none."""

    placeholder: str
    name: str

    def fill(self, text: str) -> str:
        """The name with the placeholder filled in."""
        return text.replace(self.placeholder, self.name) if self.placeholder else text


def is_file_name(name: str) -> bool:
    """Whether a value of data.train (dev, test) names a file rather than a split of a data set."""
    return name.removesuffix(".gz").endswith(SUFFIXES)


def resolve_source(recipe: Recipe) -> Source:
    """Fill in what the task knows. The recipe's own keys win; files given for a known task replace its data set."""
    data, task = recipe.data, recipe.task.known
    given: dict[SplitName, str] = {split: name for split in SPLITS if (name := getattr(data, split)) is not None}
    text = data.text or (task.text if task else ())
    label = data.label or (task.label if task else "label")
    group = data.group or (task.group if task else None)
    if data.dataset is None and (task is None or any(is_file_name(name) for name in given.values())):
        return Source(None, None, None, given, text, label, group)
    if task is not None:
        known: dict[SplitName, str | None] = {"train": task.train, "dev": task.dev, "test": task.test}
        given = {**{split: name for split, name in known.items() if name is not None}, **given}
    dataset = data.dataset or (task.dataset if task else None)
    config = data.config or (task.config if task else None)
    # A folder of one's own has its own configurations: the task's belongs to the task's data set. The languages are no
    # choice of the hub's, though, and a copy of the data set has them too.
    if dataset and Path(dataset).is_dir() and not data.config and not _has_config(Path(dataset), config):
        config = None
    return Source(dataset, config, data.revision, given, text, label, group)


def _has_config(folder: Path, config: str | None) -> bool:
    """Whether a folder in hub form declares a configuration, or has languages as configurations."""
    if config is None:
        return False
    if LANGUAGE in config:
        return True
    readme = folder / "README.md"
    return readme.is_file() and f"config_name: {config}\n" in readme.read_text(encoding="utf-8", errors="replace")


def text_names(recipe: Recipe) -> tuple[str, ...]:
    """The names of the texts of a row; a docstring has no column, and is called text."""
    return resolve_source(recipe).text or ("text",)


def part_kind(recipe: Recipe, *names: str | None) -> Literal["language", "subset"] | None:
    """What the parts of a split with such names are; None where no name has a placeholder.

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
        DataError: no name of the data has a place for them.
    """
    names = (source.config, *source.splits.values())
    for key, mark in (("eval_languages", LANGUAGE), ("subsets", SUBSET)):
        given = getattr(recipe.task, key)
        if isinstance(given, tuple) and len(given) > 1 and not any(name and mark in name for name in names):
            what = f'no name in [data] holds "{mark}": {", ".join(given)} would be the same rows'
            hint = f'Put "{mark}" into data.dev or data.test, or remove task.{key}.'
            raise DataError(what, where=f"task.{key}", hint=hint)


def parts_of(recipe: Recipe, split: SplitName, *names: str | None) -> tuple[Part, ...]:
    """The parts of a split with such names, those that choices are made on first; one empty part where it has none."""
    kind = part_kind(recipe, *names)
    if kind is None:
        return (Part("", ""),)
    if kind == "subset":
        return tuple(Part(SUBSET, name) for name in recipe.task.subset_names)
    evaluated = {"train": (), "dev": recipe.task.languages, "test": recipe.task.languages}[split]
    # Training looks at the dev rows of its own languages also where these are not evaluated.
    own = recipe.task.train_languages if split != "test" else ()
    return tuple(Part(LANGUAGE, name) for name in dict.fromkeys((*own, *evaluated)))
