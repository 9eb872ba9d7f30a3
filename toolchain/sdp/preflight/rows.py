"""Rows of the preflight: the longest, the shortest, some of each label, and the row with the largest token id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdp.data.batches import TokenizedSplit
from sdp.data.rows import Split, SplitName, TaskData
from sdp.data.rows_on_disk import Texts, row_lengths
from sdp.data.source import LANGUAGE, SUBSET
from sdp.recipe.data import DataSection

Tokenize = Callable[[Split], TokenizedSplit]
Rows = NDArray[np.int64]
LONGEST, SHORTEST = 2, 1
# Candidates by length in characters; the longest and shortest of them in tokens are taken.
CANDIDATES = 16
# Labels of dev and test that get a row. Training needs all labels.
LABELS = 4


def few_rows(split: Split, tokenize: Tokenize, *, every_label: bool, every_id: bool) -> Split:
    """Choose the rows of a split that are most likely to fail, some of each language or subset.

    Args:
        split: all rows.
        tokenize: the tokenization of training.
        every_label: take a row of every label, not only of a few.
        every_id: find the row with the largest token id, which needs the whole split tokenized.
    """
    chosen = np.zeros(len(split), dtype=bool)
    characters, encoded = _sizes(split)
    parts = np.array(split.parts)
    for part in dict.fromkeys(split.parts):
        rows = np.flatnonzero(parts == part)
        by_characters, by_bytes = (rows[np.argsort(sizes[rows], kind="stable")] for sizes in (characters, encoded))
        # A tokenizer has few words of the scripts whose letters take several bytes each.
        long = np.union1d(by_characters[-CANDIDATES:], by_bytes[-CANDIDATES:])
        chosen[_by_tokens(split, tokenize, long)[-LONGEST:]] = True
        chosen[_by_tokens(split, tokenize, by_characters[:CANDIDATES])[:SHORTEST]] = True
        labelled = _of_each_label(split, by_characters) if split.groups is None else _of_one_list(split, rows)
        chosen[labelled if every_label else labelled[:LABELS]] = True
    if every_id:
        chosen[np.argmax([max(row["input_ids"], default=-1) for row in tokenize(split).rows])] = True
    return split.where(chosen)


def _sizes(split: Split) -> tuple[Rows, Rows]:
    """Return the number of characters of every row, and of bytes in UTF-8, [N] each."""
    sizes = [(sum(map(len, texts)), sum(len(text.encode(errors="replace")) for text in texts)) for texts in split.texts]
    both = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _by_tokens(split: Split, tokenize: Tokenize, rows: Rows) -> Rows:
    """Sort some rows by their number of tokens, the fewest first."""
    rows = np.sort(rows)
    mask = np.zeros(len(split), dtype=bool)
    mask[rows] = True
    return np.asarray(rows[np.argsort(row_lengths(tokenize(split.where(mask)).rows), kind="stable")])


def _of_each_label(split: Split, order: Rows) -> Rows:
    """Return the first row of each class, label or tag in the given order; for numbers the smallest and the largest."""
    if split.multi_label:
        # A row without a label counts as one of its own.
        has = np.column_stack([split.labels > 0, ~(split.labels > 0).any(axis=1)])[order]
        return np.unique(order[has.argmax(axis=0)[has.any(axis=0)]])
    place = np.full(len(split), len(order))
    place[order] = np.arange(len(order))
    places = place[split.sentence_of_word]
    inside = places < len(order)
    labels, places = split.labels[inside], places[inside]
    sorted_places = np.lexsort((places, labels))
    first = np.unique(labels[sorted_places], return_index=True)[1]
    rows = order[places[sorted_places][first]]
    return np.asarray(rows if split.labels.dtype == np.int64 else rows[[0, -1]])


def _of_one_list(split: Split, rows: Rows) -> Rows:
    """Return the least and the most relevant row of a list with different relevances, or of all rows without one."""
    groups: Rows = np.asarray(split.groups)[rows]
    ordered = rows[np.lexsort((split.labels[rows], groups))]
    first = np.unique(np.sort(groups), return_index=True)[1]
    last = np.append(first[1:], len(rows)) - 1
    for least, most in zip(ordered[first], ordered[last], strict=True):
        if split.labels[least] < split.labels[most]:
            return np.array([least, most])
    by_label = rows[np.argsort(split.labels[rows], kind="stable")]
    return np.array([by_label[0], by_label[-1]])


WORDS, LABEL, GROUP = "words", "label", "group"


def write_rows(splits: Mapping[SplitName, Split], data: TaskData, section: DataSection, folder: Path) -> DataSection:
    """Write splits as jsonl; dev and test have a file for each language or subset.

    Args:
        splits: rows of train, dev and, where it exists, test.
        data: the task's data.
        section: the recipe's [data].
        folder: the output folder.

    Returns:
        the recipe's [data] with these files as its source.
    """
    placeholder = SUBSET if data.part == "subset" else LANGUAGE
    names: dict[str, str] = {}
    for name, split in splits.items():
        # The language of training rows matters only for trimming a vocabulary.
        parts = split.parts if name != "train" else ("",) * len(split)
        files: dict[str, list[str]] = {}
        for part, row in zip(parts, _rows(split, data.label_names), strict=True):
            files.setdefault(part, []).append(json.dumps(row) + "\n")
        for part, lines in files.items():
            path = folder / _file_name(name, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")
        names[name] = str(folder / _file_name(name, placeholder if any(parts) else ""))
    of_source = dict.fromkeys(("dataset", "config", "revision", "docstrings", "train_rows", "test", "group"))
    columns = {"text": _text_columns(data.train), "label": LABEL}
    if data.train.groups is not None:
        columns["group"] = GROUP
    return section.model_copy(update={**of_source, **names, **columns})


def write_texts(rows: Sequence[Texts], like: Split, folder: Path) -> Path:
    """Write rows without labels as `write_rows` does those of a split; returns the file."""
    columns = _text_columns(like)
    contents: list[dict[str, Any]] = []
    for row in rows:
        # An embedding's single text stands in every column.
        whole = row if len(row) > 1 else row * len(columns)
        contents.append({WORDS: list(row)} if like.tags is not None else dict(zip(columns, whole, strict=True)))
    path = folder / "unlabeled.jsonl"
    path.write_text("".join(json.dumps(content) + "\n" for content in contents), encoding="utf-8")
    return path


def _file_name(split: str, part: str) -> str:
    return f"{split}.{part}.jsonl" if part else f"{split}.jsonl"


def _text_columns(split: Split) -> tuple[str, ...]:
    return (WORDS,) if split.tags is not None else tuple(f"text{place}" for place in range(len(split.texts[0])))


def _rows(split: Split, label_names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    columns = _text_columns(split)
    for row, texts in enumerate(split.texts):
        if split.tags is not None:
            yield {WORDS: list(texts), LABEL: [split.tags[tag] for tag in split.labels_of(row)]}
            continue
        label = split.labels[row].tolist()
        if split.answers is not None:
            label = dict(zip(("text", "answer_start"), split.answers.row(row), strict=True))
        elif split.multi_label:
            label = [name for name, has in zip(label_names, label, strict=True) if has]
        elif label_names:
            label = label_names[label]
        content = {**dict(zip(columns, texts, strict=True)), LABEL: label}
        yield content if split.groups is None else {**content, GROUP: str(split.groups[row])}
