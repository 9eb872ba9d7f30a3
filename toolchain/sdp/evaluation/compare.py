"""Two models on the same rows: scores with intervals, the drop, a paired test, languages apart, rows that flipped."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from sdp.data.rows import Split
from sdp.evaluation.metrics import Array, predictions, score_predictions
from sdp.evaluation.statistics import interval, mcnemar, paired_bootstrap_test, resampled_scores
from sdp.recipe.sections import MetricName

Logits = NDArray[np.float32]


def compare(
    metric: MetricName,
    split: Split,
    first: tuple[str, Logits],
    second: tuple[str, Logits],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Compare two models on a split.

    Args:
        metric: the task's metric.
        split: N rows with labels.
        first: name and logits [N, C] of the model that is compared with (dense).
        second: name and logits [N, C] of the other (pruned, exported).
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        the record that evaluate's and export's metrics.json hold: "models", "drop" (first - second; positive is a
        loss), "test", "flips", and "languages", empty where the rows have none.
    """
    names = (first[0], second[0])
    predicted = [predictions(metric, first[1]), predictions(metric, second[1])]
    record = _compare_rows(metric, split.labels, predicted, names, resamples, seed)
    of = np.array(split.languages)
    record["languages"] = {
        language: _compare_rows(
            metric, split.labels[of == language], [p[of == language] for p in predicted], names, resamples, seed
        )
        for language in sorted(set(split.languages) - {""})
    }
    return {"split": split.name, "metric": metric, **record}


def _compare_rows(
    metric: MetricName, labels: Array, predicted: list[Array], names: tuple[str, str], resamples: int, seed: int
) -> dict[str, Any]:
    values = [score_predictions(metric, labels, p) for p in predicted]
    draws = resampled_scores(metric, labels, predicted, resamples, seed)
    differences = draws[:, 0] - draws[:, 1]
    if metric == "accuracy":
        test = mcnemar(labels == predicted[0], labels == predicted[1])
    else:
        test = paired_bootstrap_test(differences)
    return {
        "rows": len(labels),
        "models": {
            name: interval(value, draws[:, i]).to_json()
            for i, (name, value) in enumerate(zip(names, values, strict=True))
        },
        "drop": interval(values[0] - values[1], differences).to_json(),
        "test": asdict(test),
        "flips": int(np.sum(predicted[0] != predicted[1])) if metric not in ("pearson", "spearman") else None,
    }


def write_flips(path: Path, split: Split, label_names: Sequence[str], dense: Logits, pruned: Logits) -> int:
    """Write the rows whose predicted class changed, as CSV; for regression the 50 rows whose score moved most.

    Args:
        path: the file to write.
        split: N rows.
        label_names: class names; empty for regression.
        dense: logits of the dense model, [N, C].
        pruned: logits of the pruned model, [N, C].

    Returns:
        the number of rows written.
    """
    texts = [f"text{i + 1}" for i in range(len(split.texts[0]) if len(split) else 1)]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        header = ["row", "language", "label", "dense", "pruned"]
        writer.writerow(
            [*header, *(["dense_probability", "pruned_probability", "change"] if label_names else []), *texts]
        )
        rows = _class_flips(split, label_names, dense, pruned) if label_names else _largest_moves(split, dense, pruned)
        for row in rows:
            writer.writerow(row)
    return len(rows)


def _class_flips(split: Split, label_names: Sequence[str], dense: Logits, pruned: Logits) -> list[list[object]]:
    before, after = dense.argmax(axis=1), pruned.argmax(axis=1)
    p_before, p_after = softmax(dense, axis=1), softmax(pruned, axis=1)
    rows: list[list[object]] = []
    for i in np.flatnonzero(before != after):
        label = int(split.labels[i])
        change = "lost" if before[i] == label else "gained" if after[i] == label else "other"
        classes = [label_names[k] for k in (label, before[i], after[i])]
        probabilities = [f"{p_before[i, before[i]]:.3f}", f"{p_after[i, after[i]]:.3f}"]
        rows.append([int(i), split.languages[i], *classes, *probabilities, change, *split.texts[i]])
    return rows


def _largest_moves(split: Split, dense: Logits, pruned: Logits, most: int = 50) -> list[list[object]]:
    moved = np.abs(dense[:, 0] - pruned[:, 0])
    chosen = np.argsort(-moved, kind="stable")[:most]
    return [
        [
            int(i),
            split.languages[i],
            float(split.labels[i]),
            f"{dense[i, 0]:.4f}",
            f"{pruned[i, 0]:.4f}",
            *split.texts[i],
        ]
        for i in chosen
    ]
