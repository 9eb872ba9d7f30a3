"""The stored result of an arm and a seed: scores by language, and which items the model has right."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from item_means import Right, average, drops, mean_intervals, zero_shot, zero_shot_gap
from sdp.pipeline.artifacts.base import Count, Share, Stored
from sdp.pipeline.files import write_json
from sdp_onnx.bench.interval import Interval

TRAINED = "en"
AVERAGES = ("average, all", "average, zero-shot")


class Setup(Stored):
    """What models need to have in common to be compared."""

    task: str
    model: str
    languages: tuple[str, ...]
    test_items: Count
    settings: tuple[str, ...]


class ModelSize(Stored):
    """Pieces of a model's vocabulary, bytes of its parameters in float32, and of its file where it was exported."""

    pieces: Count
    float32_bytes: Count
    file_bytes: Count | None


class Scores(Stored):
    """Accuracy, and for a pruned or trimmed model what it loses against the dense one, with 95 % intervals."""

    accuracy: Interval
    drop: Interval | None


class ArmResult(Stored):
    """One model of the study.

    Attributes:
        settings: of the arm, beside those of the setup.
        sparsity: share of zeros in the encoder's linear weights.
        seconds: of the stages that made the model; the fine-tuning counts for the dense arms.
        scores: by language, and of the averages over all and over the zero-shot languages.
        gap: the drop of the zero-shot average less that of the trained language.
        right: language -> which test items are right: bits, deflated, in base64.
    """

    setup: Setup
    arm: str
    seed: int
    settings: tuple[str, ...]
    sparsity: Share
    size: ModelSize
    seconds: float
    date: str
    environment: dict[str, Any]
    scores: dict[str, Scores]
    gap: Interval | None
    right: dict[str, str]

    def write(self, path: Path) -> None:
        """Write the result to a file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.to_json())

    def unpacked(self) -> Right:
        """Return which items are right, by language, [N] of 0 and 1."""
        return {language: unpacked(text, self.setup.test_items) for language, text in self.right.items()}


def packed(right: NDArray[np.bool_]) -> str:
    """Store one bit an item, [N]."""
    return base64.b64encode(zlib.compress(np.packbits(right).tobytes(), 9)).decode("ascii")


def unpacked(text: str, items: int) -> NDArray[np.float64]:
    """Read what `packed` stored, [N] of 0 and 1."""
    stored = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    return np.unpackbits(stored, count=items).astype(np.float64)


def scored(right: Right, dense: Right | None) -> tuple[dict[str, Scores], Interval | None]:
    """Score a model by language and on average, against the dense one.

    Args:
        right: language -> whether items are right, [N], or the share of seeds for which they are.
        dense: the same of the dense model; None where the model is that.

    Returns:
        the scores, the averages behind the languages, and the gap: what the zero-shot average loses beyond English.
    """
    accuracy = mean_intervals(_with_averages(right))
    if dense is None:
        return {name: Scores(accuracy=own, drop=None) for name, own in accuracy.items()}, None
    lost = mean_intervals({**_with_averages(drops(dense, right)), "gap": zero_shot_gap(dense, right, TRAINED)})
    gap = lost.pop("gap")
    return {name: Scores(accuracy=own, drop=lost[name]) for name, own in accuracy.items()}, gap


def _with_averages(columns: Right) -> Mapping[str, NDArray[np.float64]]:
    groups = (tuple(columns), zero_shot(columns, TRAINED))
    return {**columns, **{name: average(columns, group) for name, group in zip(AVERAGES, groups, strict=True)}}
