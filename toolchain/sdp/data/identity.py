"""What a recipe's data is, told cheaply and without torch: hashes for the up-to-date check, row counts for the plan."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from sdp.data.files import count_data_rows, read_columns
from sdp.data.rows import SPLITS, SplitName
from sdp.data.source import LANGUAGE, SUFFIXES, languages_of, resolve_source
from sdp.recipe.sections import DocstringsSection, Recipe


def data_identity(recipe: Recipe) -> dict[str, str]:
    """Identify every input: split and file name -> SHA-256, package -> version and file list, hub id -> revision.

    Names without folders: a project that is moved keeps its identity.

    Raises:
        DataError: a file is missing or has not the columns it should have.
    """
    if recipe.data.docstrings is not None:
        return _package_identity(recipe.data.docstrings)
    source = resolve_source(recipe)
    if source.dataset is None:
        identity = {}
        for split, file in _files(recipe):
            # What cannot be read is told now, not after an hour of training.
            read_columns(file, (*source.text, source.label))
            identity[f"{split}: {file.name}"] = _sha256(file)
        return identity
    folder = Path(source.dataset)
    if folder.is_dir():
        found = sorted(path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
        return {str(path.relative_to(folder)): _sha256(path) for path in found}
    return {source.dataset: f"{source.config or 'default'}@{source.revision or 'main'}"}


def count_rows(recipe: Recipe) -> dict[str, int | None]:
    """Rows of train, dev and test; None for a split that there is not or that only loading the data set can tell.

    Raises:
        DataError: a file is missing or damaged.
    """
    docstrings = recipe.data.docstrings
    if docstrings is not None:
        return {"train": docstrings.train, "dev": docstrings.dev, "test": docstrings.test or None}
    source = resolve_source(recipe)
    counts: dict[str, int | None] = dict.fromkeys(SPLITS)
    if source.dataset is None:
        for split, place in source.splits.items():
            languages = languages_of(recipe, split, place)
            counts[split] = sum(count_data_rows(Path(place.replace(LANGUAGE, language))) for language in languages)
    elif Path(source.dataset).is_dir():
        for split, name in source.splits.items():
            counts[split] = _count_in_folder(Path(source.dataset), name)
    return counts


def _files(recipe: Recipe) -> list[tuple[SplitName, Path]]:
    source = resolve_source(recipe)
    return [
        (split, Path(place.replace(LANGUAGE, language)))
        for split, place in source.splits.items()
        for language in languages_of(recipe, split, place)
    ]


def _count_in_folder(folder: Path, split: str) -> int | None:
    """Rows of a split in a folder in hub form, where the files are named after it; None where they are not."""
    found = [
        path
        for path in folder.rglob("*")
        if path.name.removesuffix(".gz").endswith(SUFFIXES) and path.name.startswith(split)
    ]
    return sum(count_data_rows(path) for path in found) if found else None


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
