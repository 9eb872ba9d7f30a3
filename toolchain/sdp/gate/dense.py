"""The gate's checks of the dense model: a useless dense model loses little by pruning."""

from __future__ import annotations

from sdp.gate.check import Check, judge_bound
from sdp.gate.measured import better_than_constant, constant_sentence, measured_on
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import Interval


def judge_dense(settings: GateSection, exported: ExportMetrics) -> list[Check]:
    """Judge the dense model by its lowest metric, and against one answer for all rows.

    Args:
        settings: the recipe's [gate].
        exported: 4-export/metrics.json.
    """
    checks = []
    metric, split = exported.metric, measured_on(exported)
    if settings.min_dense_metric is not None:
        dense, subject = exported.models["dense"], f"{metric} of the dense model on {split}"
        checks.append(judge_bound("min_dense_metric", "min", settings.min_dense_metric, dense, subject))
    if not settings.allow_constant_dense and not better_than_constant(exported):
        gain = exported.constant.gain
        value, low, high = (gain.value, gain.low, gain.high) if isinstance(gain, Interval) else (None, None, None)
        checks.append(
            Check(
                name="allow_constant_dense",
                outcome="inconclusive",
                threshold=None,
                value=value,
                low=low,
                high=high,
                subject=f"dense model on {split}",
                bound="min",
                reason=constant_sentence(exported),
            )
        )
    return checks
