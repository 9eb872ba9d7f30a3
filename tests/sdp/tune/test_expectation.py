"""What trials are expected to lose, against the posterior by other means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sdp.choice.risk import Z
from sdp.tune import expectation as module
from sdp.tune.candidates import DENSE_INT8, Candidate, Trial
from sdp.tune.expectation import DEFAULT_ERROR, NOISE, expectation, features, standard_error
from sdp.tune.outcome import Outcome, Promise, Spent
from sdp_onnx.bench.interval import Interval

QUARTER = 750


def blocks(sparsity: float, steps: int) -> Trial:
    return Trial(Candidate("int8", "1x4", sparsity), steps)


def outcome(trial: Trial, drop: float, error: float = 0.005) -> Outcome:
    interval = Interval(drop, drop - Z * error, drop + Z * error)
    return Outcome(trial, interval, Interval.exact(3.0), Spent(1.0, 1.0))


FINISHED = (
    outcome(blocks(0.6, 0), 0.02),
    outcome(blocks(0.9, 0), 0.3),
    outcome(blocks(0.8, QUARTER), 0.02),
    outcome(Trial(Candidate("fp32", "unstructured", 0.9), 0), 0.2),
)


def test_the_posterior_is_that_of_weighted_samples_of_the_prior() -> None:
    """Importance sampling: coefficients drawn from the prior, weighted by how well they explain the drops."""
    expected = expectation(FINISHED, QUARTER)
    generator = np.random.default_rng(0)
    drawn = generator.normal(module._MEANS, module._DEVIATIONS, (400_000, len(module._MEANS)))
    weights = np.zeros(len(drawn))
    for own in FINISHED:
        assert own.drop is not None
        deviation = math.hypot(NOISE, 0.005 / own.drop.value)
        predicted = drawn @ features(own.trial, QUARTER)
        weights += stats.norm.logpdf(math.log(own.drop.value), predicted, deviation)
    share = np.exp(weights - weights.max())
    share /= share.sum()
    for trial in (blocks(0.8, 0), blocks(0.9, 4 * QUARTER), Trial(Candidate("fp32", "unstructured", 0.8), QUARTER)):
        values = drawn @ features(trial, QUARTER)
        mean = float(share @ values)
        variance = float(share @ (values - mean) ** 2) + NOISE**2
        assert expected.drop(trial) == pytest.approx((mean, math.sqrt(variance)), abs=0.06)


def test_the_probability_is_that_of_simulated_trials() -> None:
    expected = expectation(FINISHED, QUARTER)
    generator = np.random.default_rng(1)
    promise = Promise(0.03, 0.8)
    for trial in (blocks(0.8, QUARTER), blocks(0.9, 4 * QUARTER), blocks(0.95, QUARTER)):
        true = np.exp(generator.normal(*expected.drop(trial), 200_000))
        measured = true + generator.normal(0, expected.error, len(true))
        keeps = stats.norm.cdf((promise.max_drop - measured) / expected.error) >= promise.confidence
        assert expected.probability(trial, promise) == pytest.approx(keeps.mean(), abs=0.02)


def test_before_any_trial_the_rules_of_thumb_hold() -> None:
    expected = expectation((), QUARTER)
    assert expected.error == DEFAULT_ERROR
    means = [expected.drop(blocks(0.8, steps))[0] for steps in (0, QUARTER, 4 * QUARTER)]
    assert np.diff(means) == pytest.approx([-1.1, -1.1])
    assert expected.drop(blocks(0.9, 0))[0] - means[0] == pytest.approx(2 * math.log(2))


def test_many_trials_outweigh_them() -> None:
    def drop(sparsity: float) -> float:
        return 0.001 / (1 - sparsity) ** 3

    finished = [outcome(blocks(own, 0), drop(own), 1e-4) for own in (0.6, 0.7, 0.8, 0.85, 0.9)] * 20
    mean, deviation = expectation(finished, QUARTER).drop(blocks(0.95, 0))
    assert mean == pytest.approx(math.log(drop(0.95)), abs=0.1)
    assert NOISE < deviation < NOISE + 0.1


def test_dense_candidates_undefined_drops_and_untrained_layers_add_nothing() -> None:
    layers = Candidate("int8", "layers", 0.5, 3)
    nothing = [
        outcome(Trial(DENSE_INT8, 0), 0.5),
        Outcome(blocks(0.6, 0), None, Interval.exact(3.0), Spent(1, 1)),
        outcome(Trial(layers, 0), 0.4),
    ]
    found, before = expectation(nothing, QUARTER), expectation((), QUARTER)
    assert np.array_equal(found.mean, before.mean)
    assert found.error == before.error
    trained = expectation([*nothing, outcome(Trial(layers, QUARTER), 0.1)], QUARTER)
    assert trained.drop(Trial(layers, 4 * QUARTER)) != before.drop(Trial(layers, 4 * QUARTER))


def test_zeros_in_fewer_layers_are_expected_between_both() -> None:
    both = Candidate("int8", "layers-1x4", 0.9, 3, 0.8)
    layers = Candidate("int8", "layers", 0.9, 3)

    def seen(of_zeros: float, of_layers: float) -> float:
        trained = (Trial(Candidate("int8", "1x4", 0.9), QUARTER), of_zeros), (Trial(layers, QUARTER), of_layers)
        known = [outcome(trial, drop, 1e-4) for trial, drop in trained] * 20
        return expectation(known, QUARTER).drop(Trial(both, QUARTER))[0]

    assert seen(0.01, 0.01) == pytest.approx(math.log(0.01), abs=0.1)
    assert seen(0.01, 0.04) == pytest.approx(seen(0.04, 0.01)) == pytest.approx(math.log(0.02), abs=0.1)
    # Its own trials correct that.
    known = [outcome(Trial(both, QUARTER), 0.1, 1e-4)] * 20
    assert expectation(known, QUARTER).drop(Trial(both, QUARTER))[0] == pytest.approx(math.log(0.1), abs=0.1)


def test_a_gain_counts_as_a_small_loss_that_is_little_known() -> None:
    found = expectation([outcome(blocks(0.6, 0), -0.02)], QUARTER)
    assert found.drop(blocks(0.6, 0))[0] < expectation((), QUARTER).drop(blocks(0.6, 0))[0]
    assert standard_error(Interval(0.0, -Z * 0.1, Z * 0.1)) == pytest.approx(0.1)
