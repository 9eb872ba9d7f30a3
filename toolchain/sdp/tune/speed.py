"""How fast a candidate is, before it is measured: from others of its family. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sdp.tune.candidates import Candidate
from sdp_onnx.bench.interval import Interval

Speeds = Mapping[Candidate, float]
"""Measured speed-ups against the dense fp32 file."""


def overall_speedup(cases: Sequence[Interval]) -> Interval:
    """One speed-up for several cases of a benchmark: the geometric mean of the values, and of the ends.

    Of ratios only the geometric mean is the same whichever file is the baseline (Fleming and Wallace, CACM 29, 1986).
    The ends are those of an interval that holds for cases whose errors go together.

    Args:
        cases: at least one, all positive.
    """
    value, low, high = (
        math.exp(sum(math.log(getattr(case, end)) for case in cases) / len(cases)) for end in ("value", "low", "high")
    )
    return Interval(value, low, high)


def expected_speedup(candidate: Candidate, measured: Speeds) -> float | None:
    """The speed-up of a candidate; None where too little is measured.

    A sparse product takes a time for each weight that is left, so that the time of a model is a line in its density; it
    is fitted to the measured ones of the family, and goes no further than their times. The dense model of its precision
    is one of a family that removes weights. With zeros in fewer layers, each layer takes the time that it takes with
    the same zeros among all layers; what takes time beside the layers is where the line of fewer layers begins.

    Args:
        candidate: to be measured or not.
        measured: of any candidates.
    """
    if candidate in measured:
        return measured[candidate]
    if candidate.layer_sparsity:
        return _with_zeros_in_fewer_layers(candidate, measured)
    family = {other: speed for other, speed in measured.items() if _alike(other, candidate)}
    if len(family) < 2:
        return None
    densities, times = [1 - other.sparsity for other in family], [1 / speed for speed in family.values()]
    line = np.polyfit(densities, times, 1)
    time = float(np.clip(np.polyval(line, 1 - candidate.sparsity), min(times), max(times)))
    return 1 / time


def _with_zeros_in_fewer_layers(candidate: Candidate, measured: Speeds) -> float | None:
    whole = expected_speedup(Candidate(candidate.precision, "1x4", candidate.layer_sparsity), measured)
    layers = Candidate(candidate.precision, "layers", 1.0)
    shorter = {1 - other.sparsity: 1 / speed for other, speed in measured.items() if _alike(other, layers)}
    if whole is None or len(shorter) < 2:
        return None
    rest = float(np.clip(np.polyval(np.polyfit(list(shorter), list(shorter.values()), 1), 0.0), 0.0, 1 / whole))
    kept = (1 - candidate.sparsity) / (1 - candidate.layer_sparsity)
    return 1 / (rest + kept * (1 / whole - rest))


def _alike(other: Candidate, candidate: Candidate) -> bool:
    if not other.sparsity:
        return candidate.removes and other.precision == candidate.precision
    return other.family == candidate.family


def family_limit(candidate: Candidate, measured: Speeds) -> float:
    """The most that a candidate's speed-up can be: a sparser one of its family is at least as fast.

    Args:
        candidate: to be measured or not.
        measured: of any candidates.
    """
    sparser = [
        speed
        for other, speed in measured.items()
        if other.sparsity and other.family == candidate.family and other.sparsity >= candidate.sparsity
    ]
    return min(sparser, default=math.inf)
