"""Hard-concrete gates: derivatives against autograd, probabilities against SciPy and against counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from sdp.pruning.hard_concrete import (
    BETA,
    GAMMA,
    ZETA,
    gate_slopes,
    mean_gates,
    open_probability,
    open_probability_slopes,
    sample_gates,
)

LOG_ALPHAS = (-6.0, -2.5, -1.0, 0.0, 0.7, 2.197, 5.0)


def reference_gates(log_alpha: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Equations 10 and 11 of the paper, for autograd."""
    concrete = torch.sigmoid((torch.log(noise) - torch.log(1 - noise) + log_alpha) / BETA)
    return torch.clamp(concrete * (ZETA - GAMMA) + GAMMA, 0, 1)


@pytest.mark.parametrize("value", LOG_ALPHAS)
def test_samples_and_slopes_against_autograd(value: float) -> None:
    noise = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_alpha = torch.full((2000,), value, dtype=torch.float64, requires_grad=True)
    expected = reference_gates(log_alpha, noise)
    (slopes,) = torch.autograd.grad(expected.sum(), log_alpha)
    gates = sample_gates(log_alpha.detach(), noise)
    torch.testing.assert_close(gates, expected.detach())
    torch.testing.assert_close(gate_slopes(gates), slopes)


def test_noise_of_zero_closes_a_gate() -> None:
    gates = sample_gates(torch.zeros(1), torch.zeros(1))
    assert gates.item() == 0
    assert gate_slopes(gates).item() == 0


@pytest.mark.parametrize("value", LOG_ALPHAS)
def test_probability_of_an_open_gate(value: float) -> None:
    log_alpha = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    probability = open_probability(log_alpha)
    # A gate is open where the logistic noise exceeds what the cut at zero leaves: SciPy's distribution says how often.
    edge = np.log(-GAMMA / ZETA) * BETA - value
    assert probability.item() == pytest.approx(stats.logistic.sf(edge), rel=1e-12)
    noise = torch.rand(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    share = float((sample_gates(log_alpha.detach().expand(200_000), noise) > 0).double().mean())
    assert share == pytest.approx(probability.item(), abs=0.005)
    (slope,) = torch.autograd.grad(probability, log_alpha)
    assert float(open_probability_slopes(log_alpha.detach())) == pytest.approx(float(slope), rel=1e-9)


@pytest.mark.parametrize("value", LOG_ALPHAS)
def test_slopes_are_on_average_those_of_the_expected_gate(value: float) -> None:
    def expected_gate(log_alpha: float) -> float:
        def gate(u: float) -> float:
            pair = torch.tensor([log_alpha, u], dtype=torch.float64)
            return float(reference_gates(pair[0], pair[1]))

        return float(integrate.quad(gate, 1e-12, 1 - 1e-12, limit=200)[0])

    difference = (expected_gate(value + 1e-3) - expected_gate(value - 1e-3)) / 2e-3
    noise = torch.rand(400_000, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    slopes = gate_slopes(sample_gates(torch.full_like(noise, value), noise))
    assert float(slopes.mean()) == pytest.approx(difference, abs=2e-3)


def test_mean_gates_are_the_noiseless_ones() -> None:
    log_alpha = torch.tensor(LOG_ALPHAS)
    expected = torch.clamp(torch.sigmoid(log_alpha) * 1.2 - 0.1, 0, 1)
    torch.testing.assert_close(mean_gates(log_alpha), expected)
    assert mean_gates(log_alpha)[0] == 0
    assert mean_gates(log_alpha)[-1] == 1
    assert log_alpha.tolist() == pytest.approx(LOG_ALPHAS), "the argument is not changed"
