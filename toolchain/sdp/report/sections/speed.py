"""The section on latency, and on the exported file's time by part."""

from __future__ import annotations

from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.report import plots
from sdp.report.kernel_time import PART_NAMES, layer_rows, longest_cases
from sdp.report.section import ReportSection, RunFiles
from sdp_onnx.bench.results import ModelProfile


def section(files: RunFiles) -> ReportSection:
    """Return the latency of every case, the processes, and the profile where it exists."""
    bench = BenchLatency.load(files.run)
    # A benchmark on a GPU has no profile.
    profile = bench.profile
    values = {
        "bench": bench,
        "picture": plots.latency(bench.cases),
        "profile": profile,
        "part_names": _part_names(profile) if profile else {},
        "layer_tables": [(case, layer_rows(profile, case)) for case in longest_cases(profile)] if profile else [],
    }
    return ReportSection("Latency", "sections/speed.html", values)


def _part_names(profile: ModelProfile) -> dict[str, str]:
    """Return the parts that take time in any case, with their displayed names."""
    found = {part.part for case in profile.cases for part in case.parts}
    return {part: name for part, name in PART_NAMES.items() if part in found}
