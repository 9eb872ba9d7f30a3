"""Real text with several labels for a row: which sections a docstring has, by how it begins.

    python benchmarks/studies/sections.py FOLDER [--train 8000]
    sdp run benchmarks/studies/recipes/sections.toml --set 'data.train="FOLDER/train.tsv"' \\
        --set 'data.dev="FOLDER/dev.tsv"' --set 'data.test="FOLDER/test.tsv"'

The text is what stands before the first section, of modules, functions and classes in installed packages; the labels
are the names of the sections, in NumPy's form or Google's. Of docstrings without a section one in five is taken. All
docstrings of a file are in one split.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from docstring_files import SHARES, digest, files_by_split
from sdp.data.docstrings import docstrings_of, normalized

PACKAGES = ("numpy", "pandas", "scipy", "sklearn", "torch", "transformers", "matplotlib", "pyarrow", "datasets")
# A section by the names that start it.
NAMES = {
    "parameters": ("parameters", "args", "arguments"),
    "returns": ("returns", "return", "yields"),
    "raises": ("raises", "warns"),
    "examples": ("examples", "example"),
    "notes": ("notes", "note"),
    "see also": ("see also",),
    "references": ("references",),
    "attributes": ("attributes",),
}
_LABELS = {name: label for label, names in NAMES.items() for name in names}
_HEADER = re.compile(r"^[ \t]*([A-Z][A-Za-z ]{2,12})[ \t]*(?::[ \t]*$|\n[ \t]*-{3,}[ \t]*$)", re.MULTILINE)
WORDS = (5, 80)
# One in so many of the docstrings without a section.
WITHOUT = 5


def main(
    folder: Annotated[Path, typer.Argument(help="Where train.tsv, dev.tsv and test.tsv go.")],
    train: Annotated[int, typer.Option(min=1, help="Most rows of train; dev and test have an eighth of it.")] = 8000,
) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in rows_by_split().items():
        order = sorted(rows, key=digest)[: train if split == "train" else train // 8]
        with (folder / f"{split}.tsv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
            writer.writerow(("text", "labels"))
            writer.writerows((text, "|".join(rows[text])) for text in order)
        typer.echo(f"{split}: {len(order):,} of {len(rows):,} rows")


def rows_by_split(packages: tuple[str, ...] = PACKAGES) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return for each split its texts with their labels; a text is in one split, once."""
    found: dict[str, dict[str, tuple[str, ...]]] = {split: {} for split in SHARES}
    seen: set[str] = set()
    for split, file in files_by_split(packages):
        for text, labels in _docstrings(file):
            if (key := normalized(text)) not in seen:
                seen.add(key)
                found[split][text] = labels
    return found


def _docstrings(file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for docstring in docstrings_of(file):
        text, labels = divided(docstring)
        if len(text.split()) >= WORDS[0] and (labels or digest(text)[0] % WITHOUT == 0):
            yield text, labels


def divided(docstring: str) -> tuple[str, tuple[str, ...]]:
    """Return what stands before the first section, on one line, and the sections' labels in the order of NAMES."""
    headers = [match for match in _HEADER.finditer(docstring) if match[1].strip().casefold() in _LABELS]
    before = docstring[: headers[0].start()] if headers else docstring
    has = {_LABELS[match[1].strip().casefold()] for match in headers}
    return " ".join(before.split()[: WORDS[1]]), tuple(label for label in NAMES if label in has)


if __name__ == "__main__":
    typer.run(main)
