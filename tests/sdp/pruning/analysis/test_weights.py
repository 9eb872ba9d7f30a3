"""Sparseness of weights: Hoyer's index and the share of small ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import norm

from sdp.pruning.analysis.measures import Norms, share_below


def test_hoyer_is_its_formula() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    root = np.sqrt(1000)
    expected = (root - norm(values, 1) / norm(values, 2)) / (root - 1)
    assert Norms.of(torch.from_numpy(np.abs(values))).hoyer == pytest.approx(expected, rel=1e-12)
    # A normal distribution: l1/l2 goes to sqrt(2 n / pi).
    assert expected == pytest.approx(1 - np.sqrt(2 / np.pi), abs=0.02)


def test_hoyer_is_one_for_a_single_weight_and_zero_for_equal_ones() -> None:
    assert Norms.of(torch.tensor([0.0, 0, 0.3, 0])).hoyer == pytest.approx(1)
    assert Norms.of(torch.full((50,), 0.7)).hoyer == pytest.approx(0, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.001, 100), min_size=2, max_size=30), st.integers(1, 29), st.floats(0.001, 1000))
def test_groups_add_up_and_scale_does_not_count(values: list[float], cut: int, scale: float) -> None:
    whole = torch.tensor(values, dtype=torch.float64)
    hoyer = Norms.of(whole).hoyer
    assert hoyer is not None
    assert -1e-9 <= hoyer <= 1 + 1e-9
    assert (Norms.of(whole[:cut]) + Norms.of(whole[cut:])).hoyer == pytest.approx(hoyer, abs=1e-9)
    assert Norms.of(whole * scale).hoyer == pytest.approx(hoyer, abs=1e-9)


def test_share_below_a_thousandth_of_the_largest() -> None:
    magnitudes = torch.tensor([2.0, 0.0021, 0.0019, 0.0, 1.0])
    assert share_below(magnitudes, 2.0) == pytest.approx(2 / 5)
    assert share_below(magnitudes, 4000.0) == 1


def test_what_is_not_defined_is_none() -> None:
    nothing = torch.zeros(0)
    assert Norms.of(nothing).hoyer is None
    assert Norms.of(torch.tensor([1.0])).hoyer is None
    assert Norms.of(torch.zeros(5)).hoyer is None
    assert share_below(nothing, 1.0) is None
    assert share_below(torch.zeros(5), 0.0) is None
