"""Sentences on a metrics.json: its split, its changes, and remarks on its validity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdp.gate.check import at_least


def measured_on(record: Mapping[str, Any]) -> str:
    """Return the split of a metrics.json, and the parts over which its score is a mean."""
    return f"{record['split']}, mean over {record['mean_over']}" if record["mean_over"] else str(record["split"])


def better_than_constant(record: Mapping[str, Any]) -> bool:
    """Whether a metrics.json shows the dense model to be better than one answer for all rows."""
    low = record["constant"]["gain"]["low"]
    return low is not None and not at_least(0.0, low)


def constant_sentence(record: Mapping[str, Any]) -> str:
    """Compare the dense model with one answer for all rows in a sentence."""
    constant, metric = record["constant"], record["metric"]
    gain, value, answer = constant["gain"], constant["value"], constant["answer"]
    if gain["value"] is None or value is None:
        return f"not comparable with {answer}: {metric} is undefined, because {gain['undefined']}"
    shown = "better" if better_than_constant(record) else "not shown to be better"
    against = f"{metric} {value + gain['value']:.3f} against {value:.3f}"
    return f"{shown} than {answer}: {against}, difference {gain['value']:.3f} [{gain['low']:.3f}, {gain['high']:.3f}]"


def remarks(record: Mapping[str, Any]) -> list[str]:
    """Return remarks on the validity of a metrics.json: undefined scores, a dense model that learned nothing."""
    metric, split = record["metric"], measured_on(record)
    reasons: dict[str, list[str]] = {}
    for name, model in record["models"].items():
        if model["value"] is None:
            reasons.setdefault(model["undefined"], []).append(name)
    lines = [f"{metric} on {split} is undefined ({', '.join(names)}): {reason}" for reason, names in reasons.items()]
    if record["constant"]["gain"]["value"] is not None and not better_than_constant(record):
        lines.append(f"the dense model on {split} is {constant_sentence(record)}")
    missing = record["classes_without_rows"]
    if metric == "macro-f1" and missing:
        lines.append(f"macro-f1 is the mean over {len(record['classes'])} classes; no row is of {', '.join(missing)}")
    return lines


def changed_sentence(record: Mapping[str, Any]) -> str:
    """Return the number of changed predictions and the class with the largest loss; empty without classes."""
    if record["flips"] is None:
        return ""
    first, second = record["models"]
    changed = f"{record['flips']:,} of {record['predictions']:,} predictions changed"
    drops = [own for own in record["classes"] if own["f1"]["drop"]["value"] is not None]
    worst = max(drops, key=lambda own: own["f1"]["drop"]["value"], default=None)
    if worst is None:
        return changed
    f1 = worst["f1"]
    if at_least(0.0, f1["drop"]["value"]):
        return f"{changed}; F1 fell in no class"
    return f'{changed}; "{worst["class"]}" lost most: F1 {f1[first]["value"]:.3f} -> {f1[second]["value"]:.3f}'
