"""analysis.json of the pruning stage: what the masks did to the network."""

from __future__ import annotations

from typing import Literal

from sdp.pipeline.artifacts.base import Artifact, NotNegative, Share, Stored
from sdp.recipe.benchmark_tasks import MetricName


class TeacherMeasures(Stored):
    """The fine-tuned network alone. Only tasks of classes have something to separate."""

    metric: float | None
    separability: float | None = None
    fisher: float | None = None


class StudentMeasures(TeacherMeasures):
    """The pruned network, and how near it is to the teacher."""

    output_snr_db: float | None
    cka: float | None
    cosine: float | None
    agreement: float | None = None


class Look(Stored):
    """The pruned network at a step: just before a mask update, just after one, or in between; the last has no event."""

    step: NotNegative
    event: Literal["before", "after", "between"] | None = None
    metric: float | None
    separability: float | None = None
    fisher: float | None = None
    output_snr_db: float | None
    cka: float | None
    cosine: float | None
    agreement: float | None = None


class LayerWeights(Stored):
    """Kept weights before a mask update: signal to noise, share below a thousandth of the largest, Hoyer index."""

    snr_db: float | None
    below: float | None
    hoyer: float | None


class WeightMeasures(LayerWeights):
    """The same of all weights together, and of each matrix."""

    layers: dict[str, LayerWeights]


class UpdateRecovery(Stored):
    """The recovery of the metric after a mask update (see `pruning.analysis.recovery`)."""

    steps_to_regain: NotNegative | None
    area: float | None
    steps: NotNegative | None


class AnalysedUpdate(Stored):
    """One mask update: sparsity wanted and reached, the weights before, the network before and after."""

    step: NotNegative
    wanted: float
    sparsity: Share
    weights: WeightMeasures
    before: StudentMeasures
    after: StudentMeasures
    recovery: UpdateRecovery


class RecoverySummary(Stored):
    """The recoveries of all mask updates in a few numbers."""

    updates: NotNegative
    regained: NotNegative
    mean_steps_to_regain: float | None
    mean_drop: float | None
    area: float | None


class AnalysisSummary(Stored):
    """The summary of the analysis in metrics.json."""

    rows: NotNegative
    teacher: TeacherMeasures
    final: Look | None
    recovery: RecoverySummary
    seconds: float


class AnalysisReport(Artifact):
    """The analysis of a pruning, from the first mask update to the end."""

    STAGE = "prune"
    FILE = "analysis.json"

    metric: MetricName
    rows: NotNegative
    representation: str
    teacher: TeacherMeasures
    updates: tuple[AnalysedUpdate, ...]
    curve: tuple[Look, ...]
    recovery: RecoverySummary
    final: Look | None
    seconds: float

    def summary(self) -> AnalysisSummary:
        """What metrics.json repeats."""
        return AnalysisSummary(
            rows=self.rows, teacher=self.teacher, final=self.final, recovery=self.recovery, seconds=self.seconds
        )
