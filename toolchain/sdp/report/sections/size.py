"""The section on the size by part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sdp.models.parts import part_of
from sdp.report import plots
from sdp.report.section import RunFiles, Section

_FLOAT_BYTES = 4
_PARTS = ("embeddings", "encoder", "rest")


def section(files: RunFiles) -> Section:
    """Compare the dense and the exported size part by part."""
    parts = size_by_part(files.json("4-export/manifest.json")["tensors"])
    bench = files.json("5-bench/latency.json")
    # The benchmark's dense file has the trimmed vocabulary too.
    vocabulary = files.optional("0-vocabulary/vocabulary.json")
    whole = bench["baseline_bytes"] + vocabulary["removed_bytes"] if vocabulary is not None else None
    values = {"parts": parts, "picture": plots.sizes(parts), "bench": bench, "whole": whole}
    return Section("Size by part", "sections/size.html", values)


def size_by_part(tensors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add up the exported file's tensors by part: elements, zeros, bytes, and bytes as dense float32."""
    rows: dict[str, dict[str, Any]] = {}
    for tensor in tensors:
        name = part_of(tensor["name"])
        row = rows.setdefault(name, {"name": name, "bytes": 0, "dense_bytes": 0, "elements": 0, "zeros": 0})
        elements = math.prod(tensor["shape"])
        row["bytes"] += tensor["bytes"]
        row["dense_bytes"] += elements * _FLOAT_BYTES
        row["elements"] += elements
        row["zeros"] += tensor["zeros"]
    return [rows[name] for name in _PARTS if name in rows]
