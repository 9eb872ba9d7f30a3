"""The section on the size by part."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sdp.models.parts import part_of
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.manifest import ExportManifest, TensorEntry
from sdp.pipeline.artifacts.vocabulary import VocabularyReport
from sdp.report import plots
from sdp.report.section import ReportSection, RunFiles

_FLOAT_BYTES = 4
_PARTS = ("embeddings", "encoder", "rest")


def section(files: RunFiles) -> ReportSection:
    """Compare the dense and the exported size part by part."""
    parts, bench = size_by_part(ExportManifest.load(files.run).tensors), BenchLatency.load(files.run)
    # The benchmark's dense file has the trimmed vocabulary too.
    vocabulary = VocabularyReport.find(files.run)
    whole = bench.baseline_bytes + vocabulary.removed_bytes if vocabulary is not None else None
    values = {"parts": parts, "picture": plots.sizes(parts), "bench": bench, "whole": whole}
    return ReportSection("Size by part", "sections/size.html", values)


def size_by_part(tensors: Sequence[TensorEntry]) -> list[plots.PartSize]:
    """Add up the exported file's tensors by part: elements, zeros, bytes, and bytes as dense float32."""
    rows: dict[str, plots.PartSize] = {}
    for tensor in tensors:
        name = part_of(tensor.name)
        row = rows.setdefault(name, plots.PartSize(name))
        elements = math.prod(tensor.shape)
        row.bytes += tensor.bytes
        row.dense_bytes += elements * _FLOAT_BYTES
        row.elements += elements
        row.zeros += tensor.zeros
    return [rows[name] for name in _PARTS if name in rows]
