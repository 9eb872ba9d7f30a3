"""L0 regularization: every weight has a random gate, and learns how often it must be open."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from sdp.pruning.criteria.base import Criterion, Scores, Setup, Weights, copy_prefixed, prefixed
from sdp.pruning.hard_concrete import gate_slopes, mean_gates, open_probability_slopes, sample_gates
from sdp.pruning.masks import Masks

# log alpha at the start: sigmoid gives 0.9, most gates are open. Adam then moves it by at most about RATE a step, which
# ranks gates whatever the scale of the loss.
START = 2.197
RATE = 0.01


class L0(Criterion):
    """Hard-concrete gates: the score is log alpha, by which a gate is open more or less often (arXiv 1712.01312).

    In each training step the weights are multiplied by gates z drawn anew, W * z * M. log alpha follows by Adam the
    gradient w * dL/d(w z) * dz/dlog alpha plus that of the penalty, `gate_penalty` * mean probability of an open gate,
    both in closed form; masks pass gradients straight through, so that pruned weights, which keep their value, may come
    back. Between steps, and so in evaluations and checkpoints, the model holds W * mean gate * M; after the last mask
    update that stays as the weights, and recovery trains them without gates. Comparable between layers.
    """

    def __init__(self, weights: Weights, setup: Setup) -> None:
        super().__init__(weights, setup)
        # W, the weights without gates; where a weight is pruned, the value that it had.
        self._plain = {name: weight.detach().clone() for name, weight in weights.items()}
        self._log_alpha = {
            name: torch.full_like(weight.detach(), START, dtype=torch.float32) for name, weight in weights.items()
        }
        self._adam = torch.optim.Adam(list(self._log_alpha.values()), lr=RATE)
        self._gates: dict[str, Tensor] = {}

    def scores(self, masks: Masks) -> Scores:
        """log alpha, of pruned weights too."""
        return self._log_alpha

    @torch.no_grad()
    def before_forward(self, masks: Masks, step: int) -> None:
        """Multiply the weights by new gates; all batches of a step, on all devices, see the same ones."""
        if self._gates:
            return
        generator = None
        for name, weight in self.weights.items():
            if generator is None:
                seed = np.random.SeedSequence([self.setup.seed, step]).generate_state(1)[0]
                generator = torch.Generator(weight.device).manual_seed(int(seed))
            log_alpha = self._log_alpha[name]
            noise = torch.rand(log_alpha.shape, generator=generator, device=log_alpha.device)
            self._gates[name] = sample_gates(log_alpha, noise)
            weight.copy_(self._plain[name] * self._gates[name] * masks[name])

    @torch.no_grad()
    def observe(self, masks: Masks, step: int) -> None:
        """Move log alpha, take the gates out of the weights, and put them into the weights' gradients."""
        penalty = self.setup.settings.gate_penalty / sum(weight.numel() for weight in self.weights.values())
        for name, weight in self.weights.items():
            weight.copy_(self._plain[name])
            if weight.grad is None:
                continue
            gates, log_alpha = self._gates[name], self._log_alpha[name]
            slopes = gate_slopes(gates).mul_(self._plain[name]).mul_(weight.grad)
            log_alpha.grad = slopes.add_(open_probability_slopes(log_alpha), alpha=penalty)
            weight.grad.mul_(gates)
        self._adam.step()
        self._adam.zero_grad()
        self._gates = {}

    @torch.no_grad()
    def after_optimizer_step(self, masks: Masks) -> None:
        """Keep the weights without gates aside, and leave those with mean gates in the model."""
        for name, weight in self.weights.items():
            self._plain[name] = torch.where(masks[name], weight, self._plain[name])
        self._show()

    def before_masks_change(self, old: Masks, new: Masks) -> None:
        """Bring back what is not pruned any more."""
        self._show()

    @torch.no_grad()
    def _show(self) -> None:
        for name, weight in self.weights.items():
            weight.copy_(mean_gates(self._log_alpha[name]).mul_(self._plain[name]))

    def state(self) -> dict[str, Tensor]:
        """Weights without gates, log alpha, and what Adam remembers of it."""
        state = {**prefixed("plain", self._plain), **prefixed("log_alpha", self._log_alpha)}
        for name, log_alpha in self._log_alpha.items():
            for key, value in self._adam.state[log_alpha].items():
                state[f"adam.{key}:{name}"] = value
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """As it was."""
        copy_prefixed("plain", state, self._plain)
        copy_prefixed("log_alpha", state, self._log_alpha)
        for name, log_alpha in self._log_alpha.items():
            # Adam counts its steps on the CPU wherever the rest is.
            devices = {"step": torch.device("cpu"), "exp_avg": log_alpha.device, "exp_avg_sq": log_alpha.device}
            self._adam.state[log_alpha] = {
                key: state[f"adam.{key}:{name}"].to(device)
                for key, device in devices.items()
                if f"adam.{key}:{name}" in state
            }
