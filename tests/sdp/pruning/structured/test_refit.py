"""The refit behind removed units, against numpy's least squares on the tokens themselves."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.pruning.least_squares import damped
from sdp.pruning.structured.refit import DAMPING, refitted_to_kept


def problem(inputs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, inputs, dtype=torch.float64, generator=generator)
    mixing = torch.randn(inputs, inputs, dtype=torch.float64, generator=generator)
    return weight, torch.randn(40, inputs, dtype=torch.float64, generator=generator) @ mixing


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**16), st.data())
def test_it_is_the_least_squares_solution(inputs: int, seed: int, data: st.DataObject) -> None:
    weight, rows = problem(inputs, seed)
    kept = torch.tensor(data.draw(st.lists(st.booleans(), min_size=inputs, max_size=inputs)))
    gram = rows.T @ rows
    fitted = refitted_to_kept(weight, gram, kept)
    assert not bool(fitted[:, ~kept].any())
    if not bool(kept.any()):
        return
    # Damping is as much as more rows, one for each input.
    more = np.sqrt(DAMPING * float(gram.diagonal().mean())) * np.eye(inputs)
    every = np.vstack([rows.numpy(), more])
    wanted = every @ weight.T.numpy()
    expected, *_ = np.linalg.lstsq(every[:, kept.numpy()], wanted, rcond=None)
    np.testing.assert_allclose(fitted[:, kept].numpy(), expected.T, rtol=1e-6, atol=1e-8)


def test_all_inputs_change_nothing_and_a_copied_input_is_made_up_for() -> None:
    weight, rows = problem(4, 0)
    everything = torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(refitted_to_kept(weight, rows.T @ rows, everything), weight)
    rows[:, 3] = rows[:, 0]
    gram = rows.T @ rows
    fitted = refitted_to_kept(weight, gram, torch.tensor([True, True, True, False]))
    change = weight - fitted
    before = weight * torch.tensor([False, False, False, True])
    whole = damped(gram, DAMPING)
    assert torch.trace(change @ whole @ change.T) < 0.1 * torch.trace(before @ whole @ before.T)
