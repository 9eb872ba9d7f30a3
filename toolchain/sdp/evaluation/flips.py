"""Write the rows whose prediction changed to a readable CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from sdp.data.rows import Split
from sdp.evaluation.answers import END, F1, START
from sdp.evaluation.metrics import predictions, same

Logits = NDArray[np.float32]
MOVES = 50
"""Rows in the file for regression and ranking, where every score changes."""


def write_flips(path: Path, split: Split, label_names: Sequence[str], dense: Logits, pruned: Logits) -> int:
    """Write the rows whose predicted class changed; for regression and ranking the 50 rows with the largest change;
    for question answering the rows with another answer.

    For tagging a row of the file is a word whose tag changed, with the number of its sentence and its index in it.
    Of a multi-label row the file has all labels, with "|" between them, and the probabilities of the one that changed
    most.

    Args:
        path: the file to write.
        split: N rows.
        label_names: class or tag names; empty for regression and ranking.
        dense: logits of the dense model, [N, C], or [W, C] for the words of tagging; for question answering what
            `answer_questions` returns.
        pruned: logits of the pruned model, of the same shape.

    Returns:
        the number of rows written.
    """
    if label_names:
        place = ["row", "word"] if split.tags else ["row"]
        texts = ["text_word", "text"] if split.tags else _text_columns(split)
        probabilities = ["dense_probability", "pruned_probability", "change"]
        header = [*place, "part", "label", "dense", "pruned", *probabilities, *texts]
        flips = _set_flips if split.multi_label else _class_flips
        rows = flips(split, label_names, dense, pruned)
    else:
        header = ["row", "part", "label", "dense", "pruned", *_text_columns(split)]
        moves = _largest_moves if split.answers is None else _other_answers
        rows = moves(split, dense, pruned)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return len(rows)


def _text_columns(split: Split) -> list[str]:
    return [f"text{i + 1}" for i in range(len(split.texts[0]) if len(split) else 1)]


def _class_flips(split: Split, label_names: Sequence[str], dense: Logits, pruned: Logits) -> list[list[object]]:
    before, after = dense.argmax(axis=1), pruned.argmax(axis=1)
    rows: list[list[object]] = []
    # Both models have NaN for the same words, and NaN is not a change.
    for i in np.flatnonzero((before != after) & ~np.isnan(dense).any(axis=1)):
        p_before, p_after = softmax(dense[i]), softmax(pruned[i])
        label = int(split.labels[i])
        change = "lost" if before[i] == label else "gained" if after[i] == label else "other"
        classes = [label_names[k] for k in (label, before[i], after[i])]
        probabilities = [f"{p_before[before[i]]:.3f}", f"{p_after[after[i]]:.3f}"]
        row = int(split.sentence_of_word[i])
        place, texts = [row], list(split.texts[row])
        if split.tags:
            word = int(i - np.searchsorted(split.sentence_of_word, row))
            place, texts = [row, word], [split.texts[row][word], " ".join(split.texts[row])]
        rows.append([*place, split.parts[row], *classes, *probabilities, change, *texts])
    return rows


def _set_flips(split: Split, label_names: Sequence[str], dense: Logits, pruned: Logits) -> list[list[object]]:
    before, after = (predictions("accuracy", logits, multi_label=True) for logits in (dense, pruned))
    p_before, p_after = expit(dense), expit(pruned)
    rows: list[list[object]] = []
    for i in np.flatnonzero(~same(before, after)).tolist():
        labels = split.labels[i] > 0
        right, still = (bool((found[i] == labels).all()) for found in (before, after))
        change = "lost" if right else "gained" if still else "other"
        sets = ["|".join(label_names[k] for k in np.flatnonzero(own).tolist()) for own in (labels, before[i], after[i])]
        most = int(np.abs(p_before[i] - p_after[i]).argmax())
        probabilities = [f"{p_before[i, most]:.3f}", f"{p_after[i, most]:.3f}"]
        rows.append([int(i), split.parts[i], *sets, *probabilities, change, *split.texts[i]])
    return rows


def _other_answers(split: Split, dense: Logits, pruned: Logits) -> list[list[object]]:
    """The questions with another answer, those first that lost most of its F1."""
    if split.answers is None:
        raise ValueError("the split has no answers")
    rows: list[list[object]] = []
    moved = np.flatnonzero((dense[:, [START, END]] != pruned[:, [START, END]]).any(axis=1))
    order = moved[np.argsort(pruned[moved, F1] - dense[moved, F1], kind="stable")]
    for i in order.tolist():
        texts = split.texts[i]
        answers = [texts[1][int(own[i, START]) : int(own[i, END])] for own in (dense, pruned)]
        rows.append([i, split.parts[i], "|".join(dict.fromkeys(split.answers.of_rows[i])), *answers, *texts])
    return rows


def _largest_moves(split: Split, dense: Logits, pruned: Logits) -> list[list[object]]:
    moved = np.abs(dense[:, 0] - pruned[:, 0])
    chosen = np.argsort(-moved, kind="stable")[:MOVES]
    return [
        [int(i), split.parts[i], float(split.labels[i]), f"{dense[i, 0]:.4f}", f"{pruned[i, 0]:.4f}", *split.texts[i]]
        for i in chosen
    ]
