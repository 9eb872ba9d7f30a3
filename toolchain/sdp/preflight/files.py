"""Rows of the preflight as files, which the stages read as they read any data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdp.data.rows import Split, SplitName, TaskData
from sdp.data.source import LANGUAGE, SUBSET
from sdp.recipe.data import DataSection

WORDS, LABEL, GROUP = "words", "label", "group"


def write_rows(splits: Mapping[SplitName, Split], data: TaskData, section: DataSection, folder: Path) -> DataSection:
    """Write splits as jsonl, dev and test with a file for each language or subset.

    Args:
        splits: rows of train, dev and, where there is one, test.
        data: the task's data that they are from.
        section: the recipe's [data].
        folder: where the files go.

    Returns:
        the recipe's [data] with these files in place of its own source.
    """
    placeholder = SUBSET if data.part == "subset" else LANGUAGE
    names: dict[str, str] = {}
    for name, split in splits.items():
        # The language of training rows changes nothing but what a vocabulary is trimmed by.
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
        label = split.labels[row].item()
        content = {**dict(zip(columns, texts, strict=True)), LABEL: label_names[label] if label_names else label}
        yield content if split.groups is None else {**content, GROUP: str(split.groups[row])}
