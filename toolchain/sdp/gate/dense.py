"""The gate's checks of the dense model: a useless dense model loses little by pruning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdp.gate.check import Check, judge_bound
from sdp.gate.measured import better_than_constant, constant_sentence, measured_on
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import interval_from_json


def judge_dense(settings: GateSection, exported: Mapping[str, Any]) -> list[Check]:
    """Judge the dense model by its lowest metric, and against one answer for all rows.

    Args:
        settings: the recipe's [gate].
        exported: 4-export/metrics.json.
    """
    checks = []
    metric, split = exported["metric"], measured_on(exported)
    if settings.min_dense_metric is not None:
        value, subject = interval_from_json(exported["models"]["dense"]), f"{metric} of the dense model on {split}"
        checks.append(judge_bound("min_dense_metric", "min", settings.min_dense_metric, value, subject))
    if not settings.allow_constant_dense and not better_than_constant(exported):
        gain = exported["constant"]["gain"]
        checks.append(
            Check(
                name="allow_constant_dense",
                outcome="inconclusive",
                threshold=None,
                value=gain["value"],
                low=gain["low"],
                high=gain["high"],
                subject=f"dense model on {split}",
                bound="min",
                reason=constant_sentence(exported),
            )
        )
    return checks
