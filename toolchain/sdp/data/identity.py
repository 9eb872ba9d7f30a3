"""The identity of a recipe's data, without torch: hashes for the up-to-date check, row counts for the plan."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from sdp.data.files import column_chunks, count_data_rows
from sdp.data.hub import folder_files
from sdp.data.rows import SPLITS, SplitName
from sdp.data.source import SUFFIXES, check_parts, parts_of, resolve_source
from sdp.errors import DataError
from sdp.recipe.data import DocstringsSection
from sdp.recipe.sections import Recipe


def data_identity(recipe: Recipe) -> dict[str, str]:
    """Identify every input: split and file name -> SHA-256, package -> version and file list, hub id -> revision, and
    split -> its name in the data set, where the recipe names one.

    Names have no folders, so a project that is moved keeps its identity.

    Raises:
        DataError: a file or a column is missing, or languages are named and not read.
    """
    if recipe.data.docstrings is not None:
        return _package_identity(recipe.data.docstrings)
    source = resolve_source(recipe)
    check_parts(recipe, source)
    if source.dataset is None:
        identity: dict[str, str] = {}
        for split, part, file in _files(recipe):
            # An unreadable file is an error now, not after an hour of training.
            for _ in column_chunks(file, source.columns_of(split)):
                pass
            name = f"{split}: {file.name}"
            # The folder alone may name the language.
            identity[name if name not in identity else f"{split} {part}: {file.name}"] = _sha256(file)
        return identity
    # Files are known by their content; a data set's splits differ by name only.
    splits = {split: name for split in SPLITS if (name := getattr(recipe.data, split)) is not None}
    folder = Path(source.dataset)
    if folder.is_dir():
        return {name: _sha256(path) for name, path in folder_files(folder).items()} | splits
    return {source.dataset: f"{source.config or 'default'}@{source.revision or 'main'}"} | splits


def count_rows(recipe: Recipe) -> dict[str, int | None]:
    """Count the rows of train (at most data.train_rows), dev and test; None where there is no such split, or where the
    count is unknown until the data set is loaded.

    Raises:
        DataError: a file is missing or damaged.
    """
    docstrings = recipe.data.docstrings
    if docstrings is not None:
        return {"train": docstrings.train, "dev": docstrings.dev, "test": docstrings.test or None}
    source = resolve_source(recipe)
    counts: dict[str, int | None] = dict.fromkeys(SPLITS)
    for split, place in source.splits.items():
        parts = parts_of(recipe, split, place, source.config)
        if source.dataset is None:
            counts[split] = sum(count_data_rows(Path(part.fill(place))) for part in parts)
        elif Path(source.dataset).is_dir():
            found = [
                _count_in_folder(Path(source.dataset), part.fill(source.config or ""), part.fill(place))
                for part in parts
            ]
            counts[split] = None if None in found else sum(count or 0 for count in found)
    most, train = recipe.data.train_rows, counts["train"]
    counts["train"] = min(train, most) if train is not None and most is not None else train
    return counts


def _files(recipe: Recipe) -> list[tuple[SplitName, str, Path]]:
    """Return every file that a recipe reads, with its split and its language or subset."""
    source = resolve_source(recipe)
    return [
        (split, part.name, Path(part.fill(place)))
        for split, place in source.splits.items()
        for part in parts_of(recipe, split, place)
    ]


def _count_in_folder(folder: Path, config: str, split: str) -> int | None:
    """Count the rows of a split in a folder in hub form whose files are named after it; None for other names.

    None also where the README defines how files are read.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.name.removesuffix(".gz").endswith(SUFFIXES) and path.name.startswith((f"{split}-", f"{split}."))
    ]
    # Several configurations have one folder each.
    within = [path for path in found if config in path.relative_to(folder).parts[:-1]]
    try:
        return sum(count_data_rows(path) for path in within or found) if found else None
    except DataError:
        return None


def _package_identity(section: DocstringsSection) -> dict[str, str]:
    owners = packages_distributions()
    identity = {}
    for package in section.packages:
        for name in sorted(set(owners.get(package, []))):
            try:
                owner = distribution(name)
            except PackageNotFoundError:
                continue
            # RECORD lists every installed file with its hash.
            record = owner.read_text("RECORD") or ""
            identity[package] = f"{name} {owner.version} {hashlib.sha256(record.encode()).hexdigest()}"
    return identity


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
