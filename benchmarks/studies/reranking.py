"""Real pairs for a cross-encoder: the first sentence of a docstring, and what follows it, or what follows another.

    python benchmarks/studies/reranking.py FOLDER [--train 800]
    sdp run benchmarks/studies/recipes/reranking.toml --set 'data.train="FOLDER/train.tsv"' \\
        --set 'data.dev="FOLDER/dev.tsv"' --set 'data.test="FOLDER/test.tsv"'

A list is a query, the first sentence, with eight documents, of which one is what follows it. The others are of the same
package, from files that are close by name: they share its words. All docstrings of a file are in one split.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from docstring_files import SHARES, digest, files_by_split
from sdp.data.docstrings import docstrings_of, normalized

PACKAGES = ("numpy", "pandas", "scipy", "sklearn", "torch", "transformers", "matplotlib")
CANDIDATES = 8
# Words of a query and of a document.
QUERY, DOCUMENT = (5, 25), (15, 60)
Pair = tuple[str, str]


def main(
    folder: Annotated[Path, typer.Argument(help="Where train.tsv, dev.tsv and test.tsv go.")],
    train: Annotated[int, typer.Option(min=1, help="Most lists of train; dev and test have a fifth of it.")] = 800,
) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in pairs_by_split().items():
        rows = lists(pairs, train if split == "train" else train // 5)
        with (folder / f"{split}.tsv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar=None)
            writer.writerow(("query", "document", "relevance"))
            writer.writerows(rows)
        typer.echo(f"{split}: {len(rows) // CANDIDATES:,} of {len(pairs):,} queries")


def pairs_by_split(packages: tuple[str, ...] = PACKAGES) -> dict[str, list[Pair]]:
    """Return queries with their documents, those of neighbouring files behind each other; each query once."""
    found: dict[str, list[Pair]] = {split: [] for split in SHARES}
    seen: set[str] = set()
    for split, file in files_by_split(packages):
        for docstring in docstrings_of(file):
            pair = divided(docstring)
            keys = {normalized(text) for text in pair or ()}
            if pair is not None and not keys & seen:
                seen |= keys
                found[split].append(pair)
    return found


def divided(docstring: str) -> Pair | None:
    """Return the first sentence of a docstring and what follows, each on one line; None where one is too short."""
    plain = " ".join(docstring.split()).replace('"', "'")
    first, stop, rest = plain.partition(". ")
    query, document = f"{first}{stop.strip()}".split(), rest.split()[: DOCUMENT[1]]
    if not QUERY[0] <= len(query) <= QUERY[1] or len(document) < DOCUMENT[0]:
        return None
    return " ".join(query), " ".join(document)


def lists(pairs: list[Pair], most: int) -> list[tuple[str, str, int]]:
    """Return the rows of at most so many lists: query, document, and 1 for the query's own document."""
    chosen = sorted(range(len(pairs)), key=lambda place: digest(pairs[place][0]))[:most]
    rows: list[tuple[str, str, int]] = []
    for place in sorted(chosen):
        start = min(max(0, place - CANDIDATES // 2), max(0, len(pairs) - CANDIDATES))
        around = range(start, min(len(pairs), start + CANDIDATES))
        # Their order has nothing to do with which is the right one.
        order = sorted(around, key=lambda one: digest(f"{place} {one}"))
        rows += [(pairs[place][0], pairs[other][1], int(other == place)) for other in order]
    return rows


if __name__ == "__main__":
    typer.run(main)
