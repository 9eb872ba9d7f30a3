"""The interface of a training objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from sdp.losses.network_output import NetworkOutput


class TrainingObjective(Protocol):
    """A forward pass, and the loss of what it gives.

    They are separate, because a batch may run in parts, and its loss is computed on all rows together.
    """

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> NetworkOutput:
        """Run the network, or what wraps it for a device or for several, on some rows, each input [B, L]."""

    def loss(
        self, output: NetworkOutput, inputs: Mapping[str, Tensor], labels: Tensor, index: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            output: of all of its rows.
            inputs: each [B, L].
            labels: [B], or [B, L] for tagging.
            index: the numbers of the rows in the training split, [B].

        Returns:
            a scalar, the mean over rows, and the unweighted value of every term by name, without gradient.
        """
