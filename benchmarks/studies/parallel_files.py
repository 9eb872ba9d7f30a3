"""The files of the languages study: parallel dev and test rows, and texts without labels that share nothing with them.

No text in the other languages exists but dev and test. So half of dev becomes the text without labels, and the other
half stays dev. Items are divided, not rows: an item is the same row of every language, and its translations go with it.
Items that share a sentence in any language (XNLI has three hypotheses for a premise; PAWS-X has sentences in dev and
test) stay on one side, and an item that is linked to test, directly or through others, is never text without labels.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HEADER = "sentence1\tsentence2\tlabel"
PLACEHOLDER = "NS"
"""Stands in PAWS-X for a sentence that was not translated."""
SEED = 2022
Pair = tuple[str, str]


@dataclass(frozen=True)
class Divided:
    """Ascending numbers of items: dev's that stay dev, dev's that are text without labels, and test's to score."""

    dev: NDArray[np.int64]
    unlabeled: NDArray[np.int64]
    test: NDArray[np.int64]


def prepare(source: Path, target: Path, languages: Sequence[str], trained: str, test_rows: int | None) -> Divided:
    """Write dev, test and unlabeled files, split.LANGUAGE.tsv.gz; the same input gives the same bytes.

    Args:
        source: has dev.LANGUAGE.tsv.gz and test.LANGUAGE.tsv.gz (sentence1, sentence2, label; no quoting).
        target: the folder to write to; unlabeled files have no label column, and none is of the trained language.
        languages: of the files.
        trained: the language that the model is trained on.
        test_rows: number of test items to score, the same in all languages; None for all.

    Raises:
        BadParameter: a file is missing, has other columns, or has other rows than its translations.
    """
    dev, test = ({language: _lines(source, split, language) for language in languages} for split in ("dev", "test"))
    for split, lines in (("dev", dev), ("test", test)):
        _check_parallel(source, split, lines)
    divided = divide(_pairs(dev), _pairs(test), test_rows)
    target.mkdir(parents=True, exist_ok=True)
    for language in languages:
        _write(target / f"dev.{language}.tsv.gz", HEADER, [dev[language][item] for item in divided.dev])
        _write(target / f"test.{language}.tsv.gz", HEADER, [test[language][item] for item in divided.test])
        if language != trained:
            texts = [_pair(dev[language][item]) for item in divided.unlabeled]
            rows = ["\t".join(pair) for pair in texts if PLACEHOLDER not in pair]
            _write(target / f"unlabeled.{language}.tsv.gz", HEADER.removesuffix("\tlabel"), rows)
    return divided


def divide(dev: Mapping[str, Sequence[Pair]], test: Mapping[str, Sequence[Pair]], test_rows: int | None) -> Divided:
    """Divide the items of dev, and draw those of test.

    Args:
        dev: language -> the pairs of its N items.
        test: language -> the pairs of its M items.
        test_rows: number of test items; None for all.

    Returns:
        the numbers. At most half of dev's items are text without labels; no text of theirs is one of the other half or
        of any test item, scored or not.
    """
    items, tests = len(next(iter(dev.values()))), len(next(iter(test.values())))
    group = linked_items({language: [*dev[language], *test[language]] for language in dev})
    free = np.setdiff1d(group[:items], group[items:])
    generator = np.random.default_rng(SEED)
    sizes = np.bincount(group[:items], minlength=group.max() + 1)
    order = generator.permutation(free)
    chosen = order[np.cumsum(sizes[order]) <= items // 2]
    is_unlabeled = np.isin(group[:items], chosen)
    scored = np.sort(generator.permutation(tests)[:test_rows])
    return Divided(np.flatnonzero(~is_unlabeled), np.flatnonzero(is_unlabeled), scored)


def linked_items(pairs: Mapping[str, Sequence[Pair]]) -> NDArray[np.int64]:
    """Number the groups of items that share sentences, [N].

    Two items that share a sentence in a language have the same number, and so have all that such links join. Case and
    white space make no difference; placeholders link nothing.

    Args:
        pairs: language -> the pairs of its N items.
    """
    items = len(next(iter(pairs.values())))
    numbers: dict[tuple[str, str], int] = {}
    links = [
        (item, items + numbers.setdefault((language, sentence), len(numbers)))
        for language, own in pairs.items()
        for item, pair in enumerate(own)
        for sentence in (" ".join(text.casefold().split()) for text in pair if text != PLACEHOLDER)
    ]
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    nodes = items + len(numbers)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(nodes, nodes))
    _, group = connected_components(graph, directed=False)
    return np.asarray(group[:items], dtype=np.int64)


def _lines(source: Path, split: str, language: str) -> list[str]:
    """Return the rows of a file as they are in it."""
    path = source / f"{split}.{language}.tsv.gz"
    if not path.is_file():
        raise typer.BadParameter(f"{path} is missing; --language names the languages to read")
    header, *lines = gzip.decompress(path.read_bytes()).decode("utf-8").rstrip("\n").split("\n")
    if header != HEADER:
        raise typer.BadParameter(f"{path} has the columns {header.split()}, not {HEADER.split()}")
    return lines


def _pair(line: str) -> Pair:
    first, second, _ = line.split("\t")
    return first, second


def _pairs(lines: Mapping[str, Sequence[str]]) -> dict[str, list[Pair]]:
    return {language: [_pair(line) for line in own] for language, own in lines.items()}


def _check_parallel(source: Path, split: str, lines: Mapping[str, Sequence[str]]) -> None:
    counts = {language: len(own) for language, own in lines.items()}
    if len(set(counts.values())) > 1:
        raise typer.BadParameter(f"the {split} files of {source} are not parallel: their numbers of rows are {counts}")


def _write(path: Path, header: str, rows: Sequence[str]) -> None:
    # Without a time in it: a finished stage is up to date while the hash of the file is the same.
    content = "".join(f"{row}\n" for row in (header, *rows))
    path.write_bytes(gzip.compress(content.encode("utf-8"), mtime=0))
