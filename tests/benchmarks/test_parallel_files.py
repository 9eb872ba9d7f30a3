"""benchmarks/studies/parallel_files.py: what is learned from without labels shares nothing with what is evaluated."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from parallel_files import HEADER, divide, linked_items, prepare

Pairs = list[tuple[str, str]]
SENTENCE = st.sampled_from(["NS", *(f"s{number}" for number in range(12))])
PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE), min_size=10, max_size=10)


def sentences(pairs: Mapping[str, Sequence[tuple[str, str]]], items: Sequence[int]) -> set[tuple[str, str]]:
    return {(name, text.lower()) for name, own in pairs.items() for item in items for text in own[item]}


def naive_groups(pairs: Mapping[str, Pairs]) -> list[set[int]]:
    """Merge groups that share a sentence until nothing changes."""
    groups = [{item} for item in range(len(next(iter(pairs.values()))))]
    for _ in range(len(groups)):
        merged: list[set[int]] = []
        for group in groups:
            own = sentences(pairs, list(group))
            near = [old for old in merged if {s for s in own & sentences(pairs, list(old)) if s[1] != "ns"}]
            merged = [old for old in merged if old not in near] + [group.union(*near)]
        groups = merged
    return groups


@given(PAIRS, PAIRS)
def test_links_are_those_of_a_loop(english: Pairs, german: Pairs) -> None:
    pairs = {"en": english, "de": german}
    numbers = linked_items(pairs)
    found = {frozenset(np.flatnonzero(numbers == number).tolist()) for number in set(numbers.tolist())}
    assert found == {frozenset(group) for group in naive_groups(pairs)}


@given(st.lists(PAIRS, min_size=4, max_size=4), st.integers(1, 10))
def test_no_text_is_on_two_sides(texts: list[Pairs], test_rows: int) -> None:
    dev, test = dict(zip(("en", "de"), texts[:2], strict=True)), dict(zip(("en", "de"), texts[2:], strict=True))
    divided = divide(dev, test, test_rows)
    learned = {own for own in sentences(dev, divided.unlabeled.tolist()) if own[1] != "ns"}
    assert not learned & sentences(dev, divided.dev.tolist())
    # Items that are not scored are still test's.
    assert not learned & sentences(test, range(10))
    assert sorted([*divided.dev, *divided.unlabeled]) == list(range(10))
    assert len(divided.unlabeled) <= 5
    assert len(set(divided.test.tolist())) == test_rows


def test_half_of_unlinked_items_are_text_without_labels() -> None:
    dev = {name: [(f"a{item}", f"b{item}") for item in range(100)] for name in ("en", "de")}
    test = {name: [(f"c{item}", f"d{item}") for item in range(50)] for name in ("en", "de")}
    divided = divide(dev, test, None)
    assert (len(divided.dev), len(divided.unlabeled), len(divided.test)) == (50, 50, 50)


def write(path: Path, rows: list[str]) -> None:
    path.write_bytes(gzip.compress("".join(f"{row}\n" for row in (HEADER, *rows)).encode()))


def read(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def folder(path: Path) -> Path:
    path.mkdir()
    for language in ("en", "de"):
        for split in ("dev", "test"):
            rows = [f"{split} {language} {item}\tb {split} {language} {item}\t{item % 2}" for item in range(20)]
            write(path / f"{split}.{language}.tsv.gz", rows)
    return path


def test_the_files_are_parallel_and_those_without_labels_have_none(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    lines = read(source / "dev.de.tsv.gz")
    # Every item's German is missing but of one, and such rows teach nothing.
    write(source / "dev.de.tsv.gz", [*(f"NS\tNS\t{item % 2}" for item in range(19)), lines[20]])
    divided = prepare(source, tmp_path / "made", ("de", "en"), "en", 6)
    dev, test = ({n: read(tmp_path / "made" / f"{s}.{n}.tsv.gz") for n in ("en", "de")} for s in ("dev", "test"))
    assert [row.split("\t")[0].split()[-1] for row in test["en"][1:]] == [str(item) for item in divided.test]
    assert [row.replace("de", "en") for row in test["de"]] == test["en"]
    assert len(dev["en"]) == len(dev["de"]) == 1 + len(divided.dev)
    unlabeled = read(tmp_path / "made" / "unlabeled.de.tsv.gz")
    assert unlabeled == ["sentence1\tsentence2", *(["dev de 19\tb dev de 19"] if 19 in divided.unlabeled else [])]
    assert not (tmp_path / "made" / "unlabeled.en.tsv.gz").exists()
    before = (tmp_path / "made" / "dev.en.tsv.gz").read_bytes()
    prepare(source, tmp_path / "made", ("de", "en"), "en", 6)
    assert (tmp_path / "made" / "dev.en.tsv.gz").read_bytes() == before


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    with pytest.raises(typer.BadParameter, match=r"dev\.fr\.tsv\.gz is missing"):
        prepare(source, tmp_path / "made", ("en", "fr"), "en", None)
    write(source / "test.de.tsv.gz", ["a\tb\t0"])
    with pytest.raises(typer.BadParameter, match=r"not parallel.*'en': 20, 'de': 1"):
        prepare(source, tmp_path / "made", ("en", "de"), "en", None)
    (source / "dev.de.tsv.gz").write_bytes(gzip.compress(b"text\tlabel\na\t0\n"))
    with pytest.raises(typer.BadParameter, match="has the columns"):
        prepare(source, tmp_path / "made", ("en", "de"), "en", None)
