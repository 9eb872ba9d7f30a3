"""manifest.json of an export: how the file was made, what is in it, and every file of the folder by hash."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Stored
from sdp.pipeline.artifacts.comparison import MetricScores, Models, TorchDifference
from sdp.pipeline.artifacts.intervals import Score
from sdp.pipeline.artifacts.pruning import LayerZeros
from sdp.pipeline.run_folder import STAGE_FILE
from sdp.recipe.benchmark_tasks import MetricName, ProblemType
from sdp_onnx.deploy.manifest import write_manifest


class TensorEntry(Stored):
    """How a tensor is stored (see `sdp_onnx.model.model_file.TensorRecord`)."""

    name: str
    shape: Sequence[NotNegative]
    encoding: Literal["dense", "coo", "kernel"]
    zeros: NotNegative
    bytes: NotNegative


class ManifestMetrics(Stored):
    """What of 4-export/metrics.json goes out with the file."""

    split: str
    metric: MetricName
    models: Models
    drop: Score
    also: dict[MetricName, MetricScores]
    torch: TorchDifference


class FileEntry(Stored):
    """A file of the folder."""

    sha256: str
    bytes: NotNegative


class ExportManifest(Artifact):
    """What a user of the exported file needs to know. Its files are listed when it is stored."""

    STAGE = "export"
    FILE = "manifest.json"

    sdp: str
    recipe: dict[str, JsonValue]
    inputs: dict[str, dict[str, str]]
    versions: dict[str, str]
    onnxruntime: str | None
    max_length: Count
    problem_type: ProblemType
    text_columns: Count
    text_names: Sequence[str]
    optional_answers: bool | None = None
    layers: dict[str, LayerZeros]
    tensors: tuple[TensorEntry, ...]
    metrics: ManifestMetrics
    files: dict[str, FileEntry] = Field(default_factory=dict)

    def store(self, folder: Path) -> None:
        """Write the manifest, its keys sorted, with all other files of the folder."""
        write_manifest(folder, self.to_json(), omit=(STAGE_FILE,))
