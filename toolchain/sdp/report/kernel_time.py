"""Sentences on the exported file's time by part, from the profile in latency.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdp_onnx.bench.results import CaseProfile, LayerProfile, ModelProfile, PartProfile

PART_NAMES = {
    "sparse": "sparse products",
    "dense": "dense products",
    "sparse-int8": "sparse int8 products",
    "dense-int8": "dense int8 products",
    "attention": "attention",
    "rest": "the rest",
}

# Smaller parts are left out: the products of a classifier's head.
_SMALLEST_SHARE = 0.01


def longest_cases(profile: ModelProfile) -> list[CaseProfile]:
    """Return for each number of threads the case with the most tokens, where products have the largest share."""
    longest: dict[int, CaseProfile] = {}
    for case in profile.cases:
        known = longest.setdefault(case.threads, case)
        if case.tokens > known.tokens:
            longest[case.threads] = case
    return list(longest.values())


def time_line(profile: ModelProfile, case: CaseProfile) -> str:
    """Format a case: the share of each part of the time, and the speed of its products against the peak."""
    parts = [
        f"{PART_NAMES[part.part]} {part.share:.0%}{_speed(profile, case, part)}"
        for part in case.parts
        if part.share >= _SMALLEST_SHARE
    ]
    return f"time, {case.case}, {case.threads} threads: {', '.join(parts)}"


def peak_of(profile: ModelProfile, threads: int, kind: str) -> float | None:
    """Return the machine's peak for a type of product, in billions of operations per second; None if not measured."""
    peak = next((peak for peak in profile.peaks if peak.threads == threads), None)
    if peak is None:
        return None
    return peak.int8_gops if kind.endswith("int8") else peak.fp32_gflops


def _speed(profile: ModelProfile, case: CaseProfile, part: PartProfile) -> str:
    if part.gflops is None:
        return ""
    peak = peak_of(profile, case.threads, part.part)
    most = "" if peak is None else f" of at most {peak:.0f}"
    kernels = dict.fromkeys(layer.kernel for layer in case.layers if layer.kind == part.part)
    return f" ({part.gflops:.0f}{most} GFLOP/s, {' and '.join(kernels)})"


@dataclass(frozen=True)
class LayerRow:
    """A linear layer in the table.

    Attributes:
        layer: as it was profiled.
        name: its parameters, those that run as one together.
        why: why its product is sparse or dense.
        share_of_peak: of the machine's peak; None where that was not measured.
    """

    layer: LayerProfile
    name: str
    why: str
    share_of_peak: float | None


def layer_rows(profile: ModelProfile, case: CaseProfile) -> list[LayerRow]:
    """A row for each linear layer of a case of latency.json's profile."""
    rows = []
    for layer in case.layers:
        peak = peak_of(profile, case.threads, layer.kind)
        share = None if peak is None else layer.gflops / peak
        rows.append(LayerRow(layer, _joined_name(layer.weights), _reason(layer), share))
    return rows


def short_name(name: str) -> str:
    """Remove the common parts of names: "encoder.layer.3.output.dense.weight" -> "3.output.dense"."""
    parts = name.removesuffix(".weight").split(".")
    first = next((index for index, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[first:])


def _joined_name(weights: Sequence[str]) -> str:
    """Join the names of layers that run as one: "3.attention.self.query, key, value"."""
    first, *others = map(short_name, weights)
    return ", ".join([first, *(other.rpartition(".")[2] for other in others)])


def _reason(layer: LayerProfile) -> str:
    kept = "1x4 blocks with a nonzero" if layer.kind.endswith("int8") else "nonzeros"
    if layer.filled >= layer.break_even:
        return f"{layer.filled:.0%} {kept}, sparse pays below {layer.break_even:.0%}"
    if layer.kind.startswith("sparse"):
        return f"{layer.filled:.0%} {kept}, below {layer.break_even:.0%}"
    return "left to onnxruntime" if layer.kernel == "onnxruntime" else "no sparse product for its shape"
