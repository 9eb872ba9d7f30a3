"""The report's table of linear layers: the product, the reason for it, and its speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdp.report.kernel_time import peak_of
from sdp_onnx.bench.results import CaseProfile, LayerProfile, ModelProfile


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
