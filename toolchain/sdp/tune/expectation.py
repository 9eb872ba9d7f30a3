"""What a trial will lose, judged from the trials before it. Pure functions.

Losses are compared as logarithms, in which the rules of thumb of pruning are straight lines: half as many weights left
cost so many times more, and training recovers so many times as much. A Bayesian linear regression (Bishop, Pattern
Recognition and Machine Learning, 2006, section 3.3) begins with such rules, and the trials of the task correct them:

    ln(drop) = a_family + b ln(1 / (1 - sparsity)) + c [trained at all] + d log4(steps / quarter) + noise

Zeros in fewer layers lie between both: a is the mean of the two families', and a difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sdp.choice.risk import Z
from sdp.tune.candidates import FAMILIES, Pattern, Precision, Trial
from sdp.tune.outcome import Outcome, Promise
from sdp_onnx.bench.interval import Interval

# Expectations before the first trial, wide enough that a few trials outweigh them: a loss of 7 points at 70 % zeros
# without training; four times the loss with half as many weights; a third of it after a quarter of the training, and a
# third of that after all of it.
_BOTH: tuple[Precision, Pattern] = ("int8", "layers-1x4")
_PARTS: tuple[tuple[Precision, Pattern], ...] = (("int8", "layers"), ("int8", "1x4"))
_MEANS = np.array([*(0.0 if family == _BOTH else -5.1 for family in FAMILIES), 2.0, -1.1, -1.1])
_DEVIATIONS = np.array([*(0.7 if family == _BOTH else 2.0 for family in FAMILIES), 0.7, 0.7, 0.7])
NOISE = 0.5
"""Standard deviation of ln(drop) around the lines: seeds, and what the lines leave out."""
DEFAULT_ERROR = 0.01
"""Standard error of a drop where none is measured yet: about that of 1,000 rows."""
_QUANTILES = stats.norm.ppf((np.arange(64) + 0.5) / 64)


@dataclass(frozen=True)
class Expectation:
    """What is expected of trials.

    Attributes:
        quarter: steps of the shortest training.
        mean: of the coefficients, [families + 3].
        covariance: of the coefficients, [families + 3, families + 3].
        error: standard error of a measured drop.
    """

    quarter: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    error: float

    def drop(self, trial: Trial) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm of what a trial of a pruned candidate loses."""
        row = features(trial, self.quarter)
        return float(row @ self.mean), math.sqrt(float(row @ self.covariance @ row) + NOISE**2)

    def probability(self, trial: Trial, promise: Promise) -> float:
        """The probability that the trial, once measured, keeps the promise with its confidence.

        It does so where its measured drop is at most max_drop - z error, z the confidence's normal quantile; measured
        drops scatter around true ones by their standard error, and true ones as expected.
        """
        mean, deviation = self.drop(trial)
        true = np.exp(mean + deviation * _QUANTILES)
        most = promise.max_drop - float(stats.norm.ppf(promise.confidence)) * self.error
        return float(np.mean(stats.norm.cdf((most - true) / self.error)))


def features(trial: Trial, quarter: int) -> NDArray[np.float64]:
    """What the coefficients multiply, [families + 3]."""
    own = trial.candidate
    family = [
        1.0 if own.family == other else 0.5 if own.family == _BOTH and other in _PARTS else 0.0 for other in FAMILIES
    ]
    trained = [1.0, math.log(trial.steps / quarter, 4)] if trial.steps else [0.0, 0.0]
    return np.array([*family, -math.log(1 - own.sparsity), *trained])


def expectation(finished: Sequence[Outcome], quarter: int) -> Expectation:
    """Judge from finished trials of pruned candidates what others will lose.

    A drop of less than half its standard error counts as that much, and as little known.

    Args:
        finished: trials. Dense candidates, undefined drops, and untrained trials of what needs training add nothing.
        quarter: steps of the shortest training, at least 1.
    """
    known = [
        (own.trial, own.drop)
        for own in finished
        if own.trial.candidate.sparsity
        and own.drop is not None
        and (own.trial.steps or not own.trial.candidate.needs_training)
    ]
    errors = [standard_error(drop) for _, drop in known]
    precision = np.diag(_DEVIATIONS**-2.0)
    weighted = precision @ _MEANS
    for (trial, drop), error in zip(known, errors, strict=True):
        row, value = features(trial, quarter), max(drop.value, error / 2, 1e-6)
        weight = 1 / (NOISE**2 + (error / value) ** 2)
        precision = precision + weight * np.outer(row, row)
        weighted = weighted + weight * math.log(value) * row
    covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
    positive = [error for error in errors if error > 0]
    error = float(np.median(positive)) if positive else DEFAULT_ERROR
    return Expectation(quarter, covariance @ weighted, covariance, error)


def standard_error(drop: Interval) -> float:
    """The standard error of a drop, from its 95 % interval."""
    return (drop.high - drop.low) / (2 * Z)
