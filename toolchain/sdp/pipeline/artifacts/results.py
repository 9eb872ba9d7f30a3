"""What the stages of a run found, all of it together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sdp.pipeline.artifacts.base import Artifact
from sdp.pipeline.artifacts.comparison import EvaluateMetrics, ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.artifacts.verdict import GateVerdict
from sdp.pipeline.artifacts.vocabulary import VocabularyReport
from sdp.pipeline.run_folder import RunFolder

Kind = TypeVar("Kind", bound=Artifact)


@dataclass(frozen=True)
class RunResults:
    """The results by stage; None for a stage that the recipe does not have, or that is not done."""

    vocabulary: VocabularyReport | None
    finetune: FinetuneMetrics | None
    prune: PruneMetrics | None
    evaluate: EvaluateMetrics | None
    export: ExportMetrics | None
    bench: BenchLatency | None
    gate: GateVerdict | None

    def to_json(self) -> dict[str, Any]:
        """The results of the finished stages, without the logs of training."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        content = {stage: artifact.to_json() for stage, artifact in found.items() if artifact is not None}
        return {stage: {key: value for key, value in own.items() if key != "log"} for stage, own in content.items()}


@dataclass(frozen=True)
class FinishedResults(RunResults):
    """The results of a run whose stages up to the gate are done."""

    finetune: FinetuneMetrics
    prune: PruneMetrics
    evaluate: EvaluateMetrics
    export: ExportMetrics
    bench: BenchLatency
    gate: GateVerdict


def read_results(run: RunFolder, older: Mapping[str, str] | None = None) -> RunResults:
    """Read what the stages of a run left.

    Args:
        run: the run folder.
        older: stages whose results were made before what they depend on changed -> why; they are left out.

    Raises:
        RunError: a file is damaged, or another version's.
    """

    def find(kind: type[Kind]) -> Kind | None:
        return None if kind.STAGE in (older or {}) else kind.find(run)

    return RunResults(
        vocabulary=find(VocabularyReport),
        finetune=find(FinetuneMetrics),
        prune=find(PruneMetrics),
        evaluate=find(EvaluateMetrics),
        export=find(ExportMetrics),
        bench=find(BenchLatency),
        gate=find(GateVerdict),
    )


def load_results(run: RunFolder) -> FinishedResults:
    """Read what every stage of a run left, up to the gate.

    Raises:
        RunError: a stage is not done, or a file is damaged or another version's.
    """
    return FinishedResults(
        vocabulary=VocabularyReport.find(run),
        finetune=FinetuneMetrics.load(run),
        prune=PruneMetrics.load(run),
        evaluate=EvaluateMetrics.load(run),
        export=ExportMetrics.load(run),
        bench=BenchLatency.load(run),
        gate=GateVerdict.load(run),
    )
