"""Hard-concrete gates (Louizos, Welling and Kingma, arXiv 1712.01312): their mean, samples, and derivatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The paper's temperature, and the interval to which the concrete distribution is stretched before it is cut to [0, 1].
BETA = 2 / 3
GAMMA = -0.1
ZETA = 1.1


def sample_gates(log_alpha: Tensor, noise: Tensor) -> Tensor:
    """Draw gates: z = clamp(s * (zeta - gamma) + gamma, 0, 1), s = sigmoid((log u - log(1 - u) + log alpha) / beta).

    Args:
        log_alpha: any shape.
        noise: u, uniform in (0, 1), of the same shape.
    """
    return _stretch(torch.sigmoid((torch.logit(noise) + log_alpha) / BETA))


def mean_gates(log_alpha: Tensor) -> Tensor:
    """The gates without noise, as in the finished network: clamp(sigmoid(log alpha) (zeta - gamma) + gamma, 0, 1)."""
    return _stretch(torch.sigmoid(log_alpha))


def gate_slopes(gates: Tensor) -> Tensor:
    """Derivative of sampled gates by log alpha, from the gates alone: s (1 - s) (zeta - gamma) / beta, 0 where cut."""
    concrete = (gates - GAMMA) / (ZETA - GAMMA)
    slopes = concrete * (1 - concrete) * ((ZETA - GAMMA) / BETA)
    return slopes.masked_fill_((gates <= 0) | (gates >= 1), 0.0)


def open_probability(log_alpha: Tensor) -> Tensor:
    """Probability that a gate is not zero, the expected L0 norm: sigmoid(log alpha - beta log(-gamma / zeta))."""
    return torch.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


def open_probability_slopes(log_alpha: Tensor) -> Tensor:
    """Derivative of `open_probability` by log alpha: p (1 - p)."""
    probability = open_probability(log_alpha)
    return probability * (1 - probability)


def _stretch(concrete: Tensor) -> Tensor:
    return concrete.mul_(ZETA - GAMMA).add_(GAMMA).clamp_(0, 1)
