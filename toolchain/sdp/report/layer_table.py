"""The report's table of linear layers: the product, the reason for it, and its speed."""

from __future__ import annotations

from typing import Any

from sdp.report.kernel_time import peak_of


def layer_rows(profile: dict[str, Any], case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each linear layer of a case of the profile, with "name", "why" and "share_of_peak" added.

    The share of the peak is None where no peak was measured.
    """
    rows = []
    for layer in case["layers"]:
        peak = peak_of(profile, case["threads"], layer["kind"])
        rows.append(
            {
                **layer,
                "name": _joined_name(layer["weights"]),
                "why": _reason(layer),
                "share_of_peak": None if peak is None else layer["gflops"] / peak,
            }
        )
    return rows


def short_name(name: str) -> str:
    """Remove the common parts of names: "encoder.layer.3.output.dense.weight" -> "3.output.dense"."""
    parts = name.removesuffix(".weight").split(".")
    first = next((index for index, part in enumerate(parts) if part.isdigit()), 0)
    return ".".join(parts[first:])


def _joined_name(weights: list[str]) -> str:
    """Join the names of layers that run as one: "3.attention.self.query, key, value"."""
    first, *others = map(short_name, weights)
    return ", ".join([first, *(other.rpartition(".")[2] for other in others)])


def _reason(layer: dict[str, Any]) -> str:
    kept = "1x4 blocks with a nonzero" if layer["kind"].endswith("int8") else "nonzeros"
    if layer["filled"] >= layer["break_even"]:
        return f"{layer['filled']:.0%} {kept}, sparse pays below {layer['break_even']:.0%}"
    if layer["kind"].startswith("sparse"):
        return f"{layer['filled']:.0%} {kept}, below {layer['break_even']:.0%}"
    return "left to onnxruntime" if layer["kernel"] == "onnxruntime" else "no sparse product for its shape"
