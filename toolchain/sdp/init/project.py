"""Make a project from a file: split files, a recipe, and a line on each choice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.check.rows import read_rows
from sdp.data.answers import as_record
from sdp.data.files import count_data_rows
from sdp.data.label_lists import SEPARATOR
from sdp.data.rows import SPLITS, SplitName
from sdp.errors import DataError
from sdp.init.files import Row, require_absent, write_rows
from sdp.init.recipe_text import recipe_text
from sdp.init.rows import LabelledRows, check_columns, read_labelled
from sdp.init.settings import choose_settings
from sdp.init.split import assign
from sdp.recipe import load_recipe
from sdp.recipe.benchmark_tasks import ProblemType

SEED = 0
# Most units (texts of a class, or all texts without classes) that count as few.
_FEWEST_UNITS = 10


@dataclass(frozen=True)
class Request:
    """The arguments of `sdp init`.

    Attributes:
        data: the file.
        text: the text columns.
        label: the label column; None where it is not named.
        group: the column of a ranking's lists.
        type: the problem type; None to derive it from the labels.
        model: hub id, folder or package; None to choose one.
        out: the output folder; None for the file's own folder.
        dev, test: existing files of these splits.
        force: overwrite files of an earlier call.
    """

    data: Path
    text: tuple[str, ...]
    label: str | None
    group: str | None = None
    type: ProblemType | None = None
    model: str | None = None
    out: Path | None = None
    dev: Path | None = None
    test: Path | None = None
    force: bool = False

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.data.parent if self.out is None else self.out

    @property
    def files(self) -> dict[SplitName, Path]:
        """The file of each split; train is the given file where no rows are taken from it."""
        given: dict[SplitName, Path | None] = {"train": None, "dev": self.dev, "test": self.test}
        if self.dev is not None and self.test is not None:
            given["train"] = self.data
        stem, suffix = stem_of(self.data)
        return {split: path or self.folder / f"{stem}-{split}{suffix}" for split, path in given.items()}

    @property
    def new_files(self) -> dict[SplitName, Path]:
        """The split files that are written."""
        return {split: path for split, path in self.files.items() if path not in (self.data, self.dev, self.test)}


@dataclass(frozen=True)
class Project:
    """The files and choices of a new project.

    Attributes:
        recipe: the recipe file.
        lines: each choice with its reason.
    """

    recipe: Path
    lines: list[str]


def init_project(request: Request) -> Project:
    """Write split files and a recipe.

    Raises:
        UsageError: columns are not named, files exist, or rows cannot be used; no file is left behind.
    """
    check_columns(request.data, request.text, request.label, request.group)
    label = str(request.label)
    rows = read_labelled(request.data, request.text, label, request.group, request.type)
    recipe = request.folder / f"{stem_of(request.data)[0]}.toml"
    require_absent([recipe, *request.new_files.values()], force=request.force)
    sides = _divide(rows, request)
    counts = {
        split: int((sides == SPLITS.index(split)).sum()) if split in request.new_files else count_data_rows(path)
        for split, path in request.files.items()
    }
    request.folder.mkdir(parents=True, exist_ok=True)
    places = {split: os.path.relpath(path, request.folder) for split, path in request.files.items()}
    settings, lines = choose_settings(rows, recipe.stem, request.model, request.folder, places, counts)
    columns = [*request.text, label, *((request.group,) if request.group else ())]
    written = [path for path in (recipe, *request.new_files.values()) if not path.exists()]
    try:
        for split, path in request.new_files.items():
            write_rows(path, columns, _rows_of(rows, sides, split), SEPARATOR if rows.type == "multi-label" else " ")
        text = recipe_text(settings, columns[: len(request.text)], label, request.group, recipe.name)
        recipe.write_text(text, encoding="utf-8")
        read_rows(load_recipe(recipe))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    shown = ", ".join(f"{split} {counts[split]:,} ({path})" for split, path in request.files.items())
    return Project(recipe, [f"rows: {shown}", *_scarce(rows, request), *lines])


def stem_of(path: Path) -> tuple[str, str]:
    """Return a data file's name without its format, as a valid recipe name, and the format to write."""
    plain = Path(path.name.removesuffix(".gz"))
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in plain.stem).lstrip("._-")
    packed = ".gz" if path.name.endswith(".gz") and plain.suffix != ".parquet" else ""
    return stem[:80] or "task", plain.suffix + packed


def _divide(rows: LabelledRows, request: Request) -> NDArray[np.int8]:
    """Return the index in SPLITS of each row's split.

    Raises:
        DataError: there are too few rows to divide.
    """
    wanted: list[SplitName] = [split for split in request.new_files if split != "train"]
    keys = rows.keys
    if wanted:
        _require_enough(rows, keys, len(wanted) + 1, str(request.data))
    return assign(keys, rows.classes or ("",) * len(keys), wanted, SEED)


def _require_enough(rows: LabelledRows, keys: list[bytes], splits: int, where: str) -> None:
    hint = "Give more rows; a few hundred of each class are a start."
    units = _units(rows, keys)
    if sum(units.values()) < _FEWEST_UNITS:
        what = f"{len(keys)} rows with {sum(units.values())} different texts are too few for {splits} splits"
        raise DataError(what, where=where, hint=hint)
    if rows.classes and sum(count >= splits for count in units.values()) < 2:
        what = f"only one class has {splits} different texts or more: no {splits} splits with two classes can be made"
        raise DataError(what, where=where, hint=hint)


def _units(rows: LabelledRows, keys: list[bytes]) -> dict[str, int]:
    """Count the units that can be divided, by class."""
    owners = dict(zip(reversed(keys), reversed(rows.classes or ("",) * len(keys)), strict=True))
    return {name: list(owners.values()).count(name) for name in dict.fromkeys(owners.values())}


def _scarce(rows: LabelledRows, request: Request) -> Iterator[str]:
    """Yield a line on the classes that have too few texts for all splits."""
    units = _units(rows, rows.keys) if rows.classes else {}
    few = [f'"{name}"' for name, count in sorted(units.items()) if count < len(request.new_files)]
    if few:
        shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        yield f"too few texts to be in every split: {shown}; give them more rows, or remove them"


def _rows_of(rows: LabelledRows, sides: NDArray[np.int8], split: SplitName) -> Iterator[Row]:
    """Yield the values of one split's rows, in the order of the file."""
    raw, tagging = rows.raw, rows.type == "tagging"
    for row, texts in enumerate(raw.texts):
        if sides[row] == SPLITS.index(split):
            columns: list[object] = [list(texts)] if tagging else list(texts)
            columns.append(_label_of(rows, row))
            yield [*columns, *((raw.groups[row],) if raw.groups else ())]


def _label_of(rows: LabelledRows, row: int) -> object:
    label = rows.raw.labels[row]
    if not isinstance(label, tuple):
        return label
    return as_record(label) if rows.type == "question-answering" else list(label)
