"""The JSON files of a study's folder as frozen, typed models.

CellResult    cells/KEY.json    the result of a cell: all that the table needs, so that no model has to be kept
StudyTable    study.json        the table over all finished cells
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, JsonValue

from sdp.pipeline.artifacts.analysis import Look, RecoverySummary, TeacherMeasures
from sdp.pipeline.artifacts.base import Count, NotNegative, Share, Stored, StoredFile, form_number
from sdp.pipeline.files import write_json
from sdp.recipe.benchmark_tasks import MetricName
from sdp.statistics.seeds import PairedDifference, Summary
from sdp_onnx.bench.interval import Interval

FORMAT = 1
CELLS = "cells"
Split = Literal["dev", "test"]
SPLITS: tuple[Split, ...] = ("dev", "test")


class _OfCell(Stored):
    """A key that a later version added is ignored: a cell is hours of work."""

    model_config = ConfigDict(extra="ignore")


class CellScores(_OfCell):
    """The scores of both models; None where one is undefined."""

    dense: float | None
    pruned: float | None


class EvaluatedSplit(_OfCell):
    """What evaluation found on its split.

    Attributes:
        split: its name.
        rows: their number.
        flips: predictions that pruning changed; None for regression and ranking.
        agreement: share of the predictions that it did not change.
        parts: the scores by language or subset.
        better_than_constant: whether the dense model is better than one answer for all rows; cells of older versions
            do not have it.
    """

    split: str
    rows: Count
    flips: NotNegative | None
    agreement: Share | None
    parts: dict[str, CellScores]
    better_than_constant: bool | None = None


class DevPoint(_OfCell):
    """The metric on dev at a step of pruning."""

    step: NotNegative
    dev: float | None


class SparsityPoint(_OfCell):
    """The sparsity at a step of pruning."""

    step: NotNegative
    sparsity: Share


class PruningCurve(_OfCell):
    """The log of pruning, thinned."""

    dev: tuple[DevPoint, ...]
    sparsity: tuple[SparsityPoint, ...]


class UpdateWeights(_OfCell):
    """All kept weights together before a mask update (see `pipeline.artifacts.analysis.LayerWeights`)."""

    step: NotNegative
    sparsity: Share
    snr_db: float | None
    below: float | None
    hoyer: float | None


class CellAnalysis(_OfCell):
    """The summary of the pruning stage's analysis, and the weights at each mask update."""

    rows: NotNegative
    teacher: TeacherMeasures
    final: Look | None
    recovery: RecoverySummary
    weights: tuple[UpdateWeights, ...]


class Machine(_OfCell):
    """The machine of a cell."""

    cpu: str
    allowed_cores: int | None
    gpus: Sequence[str]
    os: str


class CellResult(_OfCell):
    """The result of one cell.

    Attributes:
        format: of the file.
        key: names the cell (see `study.grid`).
        arm: axis -> label.
        overrides: the ones that belong to the arm.
        seed: of the recipe.
        metric: of the scores.
        dev: scores on dev.
        test: scores on test; None where the recipe evaluates on dev.
        sparsity: share of zeros in the pruned weights.
        evaluated: what evaluation found.
        curve: the log of pruning.
        analysis: of pruning; None where the recipe has none.
        teacher: SHA-256 of the fine-tuned weights.
        seconds: stage -> the time it took.
        code: stage -> identity of the code that it ran.
        libraries: versions.
        machine: where it ran.
        date: when it ended, ISO 8601.
        inputs: hashes of model and data.
        settings: of the recipe, all that decide the result.
    """

    format: Annotated[int, form_number(FORMAT)]
    key: str
    arm: dict[str, str]
    overrides: tuple[str, ...]
    seed: NotNegative
    metric: MetricName
    dev: CellScores
    test: CellScores | None
    sparsity: Share
    evaluated: EvaluatedSplit
    curve: PruningCurve
    analysis: CellAnalysis | None
    teacher: str
    seconds: dict[str, float]
    code: dict[str, JsonValue]
    libraries: dict[str, str]
    machine: Machine
    date: str
    inputs: dict[str, dict[str, str]]
    settings: dict[str, JsonValue]

    @staticmethod
    def path(out: Path, key: str) -> Path:
        """Return the path of a cell's result in a study's folder."""
        return out / CELLS / f"{key}.json"

    def store(self, out: Path) -> None:
        """Write the result into a study's folder, whole or not at all."""
        path = self.path(out, self.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.to_json())

    def scored(self, split: Split) -> CellScores | None:
        """The scores on a split; None where the cell was not evaluated on it."""
        return self.dev if split == "dev" else self.test


class SeedDifference(Stored):
    """A difference to the baseline arm over n seeds (see `statistics.seeds.PairedDifference`)."""

    n: Count
    mean: float
    low: float | None
    high: float | None
    p: Share | None

    @classmethod
    def of(cls, found: PairedDifference) -> Self:
        """A difference as it is stored: the ends of the interval beside the mean."""
        low, high = (found.interval.low, found.interval.high) if found.interval is not None else (None, None)
        return cls(n=found.n, mean=found.mean, low=low, high=high, p=found.p)

    @property
    def interval(self) -> Interval | None:
        """The mean with its interval; None for one pair."""
        return Interval(self.mean, self.low, self.high) if self.low is not None and self.high is not None else None


class ArmScores(Stored):
    """An arm on one split.

    Attributes:
        values: the pruned model's score, seed -> score.
        dense: the fine-tuned model's.
        pruned: the pruned model's.
        difference: to the baseline arm; None for the baseline itself, and without one.
        holm: the difference's p, corrected for all arms of the table.
    """

    values: dict[int, float]
    dense: Summary
    pruned: Summary
    difference: SeedDifference | None
    holm: Share | None


class StudyArm(Stored):
    """An arm over its finished seeds; `splits` is empty where there are none.

    Attributes:
        arm: axis -> label.
        cells: seed -> key of the finished cell.
        metric: the name of the score; empty without a finished cell.
        sparsity: share of zeros in the pruned weights.
        agreement: share of the evaluated rows (words) for which the pruned model predicts what the dense one does.
        splits: split -> scores.
    """

    arm: dict[str, str]
    cells: dict[int, str]
    metric: str
    sparsity: Summary | None
    agreement: Summary | None
    splits: dict[Split, ArmScores]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label on each axis."""
        return tuple(self.arm.values())


class FailedCell(Stored):
    """A cell that failed, and the error."""

    cell: str
    message: str


class StudyTable(StoredFile):
    """The results of a study so far.

    Attributes:
        recipe: its name.
        metric: the name of the scores; several where the task is varied.
        axes: the varied keys -> the labels of their values.
        seeds: number of seeds.
        baseline: axis -> label that the others of the axis are compared with.
        arms: one row each.
        remarks: lines below the table.
        failed: the cells that failed in this call.
    """

    FILE: ClassVar[str] = "study.json"

    recipe: str
    metric: str
    axes: dict[str, tuple[str, ...]]
    seeds: Count
    baseline: dict[str, str] | None
    arms: tuple[StudyArm, ...]
    remarks: tuple[str, ...]
    failed: tuple[FailedCell, ...]

    @property
    def splits(self) -> list[Split]:
        """The splits that any arm has."""
        return [split for split in SPLITS if any(split in arm.splits for arm in self.arms)]
