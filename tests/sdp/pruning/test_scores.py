"""LAMP and lookahead scores against loops over their definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdp.pruning.masks import select_masks
from sdp.pruning.scores import lamp_scores, lookahead_scores

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
TIED = hnp.arrays(np.float32, SHAPES, elements=st.integers(-3, 3).map(float))
FREE = hnp.arrays(np.float32, SHAPES, elements=st.floats(-100, 100, width=32))


@settings(deadline=None)
@given(st.one_of(TIED, FREE))
def test_lamp_is_the_share_in_what_is_not_smaller(weight: np.ndarray) -> None:
    expected = np.zeros(weight.shape)
    for index, value in np.ndenumerate(weight.astype(np.float64)):
        total = sum(float(v) ** 2 for v in weight.flat if float(v) ** 2 >= value**2)
        expected[index] = value**2 / total if value else 0.0
    np.testing.assert_allclose(lamp_scores(torch.from_numpy(weight)).numpy(), expected, rtol=1e-6, atol=1e-30)


def test_lamp_never_empties_a_layer_and_does_not_see_its_scale() -> None:
    weights = {"small": torch.randn(8, 8) * 1e-6, "large": torch.randn(8, 8) * 1e6}
    scores = {name: lamp_scores(weight) for name, weight in weights.items()}
    assert all(float(score.max()) == 1.0 for score in scores.values())
    masks = select_masks(scores, 126 / 128, "global")
    assert [int(mask.sum()) for mask in masks.values()] == [1, 1]


@pytest.mark.parametrize(("before", "after"), [(True, True), (True, False), (False, True), (False, False)])
def test_lookahead_against_loops(before: bool, after: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, inputs, outputs = (torch.randn(shape, generator=generator) for shape in ((5, 7), (7, 3), (4, 5)))
    expected = np.zeros((5, 7))
    for i in range(5):
        for j in range(7):
            row = sum(float(v) ** 2 for v in inputs[j]) if before else 1.0
            column = sum(float(v) ** 2 for v in outputs[:, i]) if after else 1.0
            expected[i, j] = float(weight[i, j]) ** 2 * row * column
    scores = lookahead_scores(weight, inputs if before else None, outputs if after else None)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)
