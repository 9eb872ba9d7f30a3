"""Least squares on a layer's inputs, against numpy's solver and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.pruning.least_squares import damped, output_energies, refitted

OUT, IN, TOKENS = 5, 8, 40


def layer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [out, in] and correlated inputs [tokens, in]."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(TOKENS, IN)) @ generator.normal(size=(IN, IN))
    return generator.normal(size=(OUT, IN)), inputs


def gram_of(inputs: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(inputs.T @ inputs)


def refitted_to(weight: np.ndarray, inputs: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The kept weights that compute what all weights compute on these inputs."""
    gram = gram_of(inputs)
    return refitted(torch.from_numpy(weight) @ gram, gram, torch.from_numpy(mask)).numpy()


def squared_error(weight: np.ndarray, other: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """Of each output, over all tokens."""
    return (((weight - other) @ inputs.T) ** 2).sum(axis=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_kept_weights_against_numpys_least_squares(seed: int, density: float) -> None:
    weight, inputs = layer(seed)
    mask = np.random.default_rng(seed + 1).random((OUT, IN)) < density
    found = refitted_to(weight, inputs, mask)
    assert not found[~mask].any()
    for row in range(OUT):
        kept = np.flatnonzero(mask[row])
        if len(kept):
            expected = np.linalg.lstsq(inputs[:, kept], inputs @ weight[row], rcond=None)[0]
            np.testing.assert_allclose(found[row, kept], expected, rtol=1e-5, atol=1e-7)


def test_nothing_pruned_changes_nothing_and_everything_pruned_is_zero() -> None:
    weight, inputs = layer(2)
    np.testing.assert_allclose(refitted_to(weight, inputs, np.ones((OUT, IN), dtype=bool)), weight, rtol=1e-8)
    assert not refitted_to(weight, inputs, np.zeros((OUT, IN), dtype=bool)).any()


def test_other_outputs_than_those_of_the_inputs() -> None:
    _, inputs = layer(7)
    outputs = np.random.default_rng(0).normal(size=(TOKENS, OUT))
    mask = np.random.default_rng(1).random((OUT, IN)) < 0.6
    found = refitted(torch.from_numpy(outputs.T @ inputs), gram_of(inputs), torch.from_numpy(mask)).numpy()
    for row in range(OUT):
        kept = np.flatnonzero(mask[row])
        expected = np.linalg.lstsq(inputs[:, kept], outputs[:, row], rcond=None)[0]
        np.testing.assert_allclose(found[row, kept], expected, rtol=1e-6)


def test_uncorrelated_inputs_leave_the_kept_weights_as_they_are() -> None:
    weight = torch.from_numpy(layer(3)[0])
    mask = torch.rand(OUT, IN, generator=torch.Generator().manual_seed(0)) < 0.5
    gram = torch.diag(torch.arange(1.0, IN + 1).double())
    assert torch.allclose(refitted(weight @ gram, gram, mask), weight * mask)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_the_energy_of_a_block_is_the_error_without_it(block: int) -> None:
    weight, inputs = layer(5)
    energies = output_energies(torch.from_numpy(weight), gram_of(inputs), block).numpy()
    for place in range(IN // block):
        other = weight.copy()
        other[:, place * block : (place + 1) * block] = 0
        np.testing.assert_allclose(energies[:, place], squared_error(weight, other, inputs), rtol=1e-8)


def test_damping_makes_a_singular_matrix_solvable() -> None:
    inputs = np.zeros((TOKENS, IN))
    inputs[:, 0] = 1
    gram = damped(gram_of(inputs), 0.01)
    assert torch.allclose(
        gram.diagonal().double(), torch.tensor([TOKENS, *[0.0] * (IN - 1)]).double() + 0.01 * TOKENS / IN
    )
    assert refitted(torch.ones(1, IN).double(), gram, torch.ones(1, IN, dtype=torch.bool)).isfinite().all()
