"""Speeds of several cases, and of candidates that are not measured."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdp.tune.candidates import Candidate
from sdp.tune.speed import expected_speedup, family_limit, overall_speedup
from sdp_onnx.bench.interval import Interval

SPEEDS = st.floats(0.1, 50)


def blocks(sparsity: float) -> Candidate:
    return Candidate("int8", "1x4", sparsity)


@given(st.lists(st.tuples(SPEEDS, SPEEDS, SPEEDS).map(sorted), min_size=1, max_size=4))
def test_several_cases_have_their_geometric_mean(ends: list[list[float]]) -> None:
    found = overall_speedup([Interval(value, low, high) for low, value, high in ends])
    for place, own in enumerate((found.low, found.value, found.high)):
        assert own == pytest.approx(stats.gmean([case[place] for case in ends]))


@given(st.floats(0.05, 0.5), st.floats(0.1, 1.0), st.sampled_from([0.7, 0.8, 0.85, 0.9]))
def test_between_two_measured_ones_time_is_a_line_in_the_density(fixed: float, each: float, sparsity: float) -> None:
    measured = {blocks(own): 1 / (fixed + each * (1 - own)) for own in (0.6, 0.95)}
    found = expected_speedup(blocks(sparsity), measured)
    assert found == pytest.approx(1 / (fixed + each * (1 - sparsity)))


def test_a_measured_one_is_as_fast_as_measured_and_nothing_goes_beyond_the_family() -> None:
    measured = {blocks(0.6): 3.0, blocks(0.7): 2.9, blocks(0.8): 5.0, Candidate("fp32", "unstructured", 0.9): 9.0}
    assert expected_speedup(blocks(0.7), measured) == 2.9
    assert expected_speedup(blocks(0.95), measured) == pytest.approx(5.0)
    assert expected_speedup(Candidate("fp32", "unstructured", 0.8), measured) is None


@pytest.mark.parametrize("kept", [2, 3, 5])
def test_what_is_removed_takes_no_time_and_the_dense_model_is_of_the_family(kept: int) -> None:
    fixed, each = 0.1, 0.05

    def layers(own: int) -> Candidate:
        return Candidate("int8", "layers", 1 - own / 6, own)

    dense = Candidate("int8", "unstructured", 0.0)
    measured = {dense: 1 / (fixed + 6 * each), layers(1): 1 / (fixed + each), Candidate("fp32", "unstructured", 0): 1.0}
    assert expected_speedup(layers(kept), measured) == pytest.approx(1 / (fixed + kept * each))
    assert expected_speedup(blocks(0.8), {**measured, blocks(0.6): 3.0}) is None


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_zeros_in_fewer_layers_take_their_share_of_what_they_take_in_all(kept: int) -> None:
    fixed, dense, sparse = 0.1, 0.05, 0.02
    both = Candidate("int8", "layers-1x4", 1 - kept / 6 * 0.2, kept, 0.8)
    layers = {
        Candidate("int8", "unstructured", 0.0): 1 / (fixed + 6 * dense),
        Candidate("int8", "layers", 0.5, 3): 1 / (fixed + 3 * dense),
    }
    zeros = {blocks(0.8): 1 / (fixed + 6 * sparse)}
    assert expected_speedup(both, {**layers, **zeros}) == pytest.approx(1 / (fixed + kept * sparse))
    assert expected_speedup(both, {**layers, **zeros, both: 7.0}) == 7.0
    # What is not known of either is not guessed.
    assert expected_speedup(both, zeros) is None
    assert expected_speedup(both, layers) is None
    # Noise: a whole model with zeros that takes less than what takes time beside the layers.
    assert expected_speedup(both, {**layers, blocks(0.8): 20.0}) == pytest.approx(20.0)


def test_a_sparser_one_is_the_limit() -> None:
    measured = {blocks(0.9): 6.0, blocks(0.6): 3.0, Candidate("int8", "unstructured", 0.0): 2.0}
    assert family_limit(blocks(0.8), measured) == 6.0
    assert family_limit(blocks(0.95), measured) == math.inf
    assert family_limit(Candidate("fp32", "unstructured", 0.7), measured) == math.inf
