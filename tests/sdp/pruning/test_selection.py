"""Selection of the highest scores against a stable sort: ties, infinities, many tensors, and a sample that misleads."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sdp.pruning import masks as selection
from sdp.pruning.masks import keep_highest_of

# Few different values, so that ties are the rule; negative and infinite ones among them.
VALUES = st.sampled_from([-math.inf, -2.0, -1.0, -0.0, 0.0, 1e-30, 1.0, 3.0, math.inf])
SIDES = hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=20)
TIED = hnp.arrays(np.float32, SIDES, elements=VALUES)
DISTINCT = hnp.arrays(np.float32, SIDES, elements=st.floats(-(2.0**99), 2.0**99, width=32), unique=True)


def naive(scores: np.ndarray, keep: int) -> np.ndarray:
    """A stable sort, highest first: earlier positions win ties."""
    mask = np.zeros(scores.size, dtype=bool)
    mask[np.argsort(-scores.reshape(-1), kind="stable")[:keep]] = True
    return mask.reshape(scores.shape)


@pytest.fixture(autouse=True, params=[1 << 17, 16, 1], ids=["no-sample", "sample-16", "sample-1"])
def sample(request: pytest.FixtureRequest) -> Iterator[None]:
    """Also with samples so small that their bounds often miss: the result must not depend on luck."""
    before = selection.SAMPLE, selection._DIRECT
    selection.SAMPLE, selection._DIRECT = request.param, 4 * request.param
    yield
    selection.SAMPLE, selection._DIRECT = before


@settings(deadline=None)
@given(st.one_of(TIED, DISTINCT), st.floats(0, 1))
def test_keep_highest_is_exact_whatever_the_ties(scores: np.ndarray, share: float) -> None:
    keep = round(scores.size * share)
    mask = keep_highest_of([torch.from_numpy(scores)], keep)[0].numpy()
    assert mask.sum() == keep
    assert np.array_equal(mask, naive(scores, keep))


@settings(deadline=None)
@given(st.lists(st.one_of(TIED, DISTINCT), min_size=1, max_size=5), st.floats(0, 1))
def test_several_tensors_are_ranked_as_one(arrays: list[np.ndarray], share: float) -> None:
    together = np.concatenate([array.reshape(-1) for array in arrays])
    keep = round(together.size * share)
    masks = keep_highest_of([torch.from_numpy(array) for array in arrays], keep)
    assert [mask.shape for mask in masks] == [array.shape for array in arrays]
    assert np.array_equal(np.concatenate([mask.numpy().reshape(-1) for mask in masks]), naive(together, keep))


@pytest.mark.parametrize("kind", ["normal", "equal", "mostly-pruned", "two-values", "heavy-tail", "sorted"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_large_tensor_against_a_sort(kind: str, share: float) -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(700, 1000)).astype(np.float32)
    if kind == "equal":
        scores[:] = -1
    elif kind == "mostly-pruned":
        scores[generator.random(scores.shape) < 0.8] = -np.inf
    elif kind == "two-values":
        scores = np.sign(scores)
    elif kind == "heavy-tail":
        scores = np.exp(10 * scores)
    elif kind == "sorted":
        scores = np.sort(scores, axis=None).reshape(scores.shape)
    keep = round(scores.size * share)
    assert np.array_equal(keep_highest_of([torch.from_numpy(scores)], keep)[0].numpy(), naive(scores, keep))


def test_scores_that_are_no_numbers_are_reported() -> None:
    with pytest.raises(ValueError, match="NaN"):
        keep_highest_of([torch.full((100,), math.nan)], 50)
