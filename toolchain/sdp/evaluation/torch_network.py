"""A torch model as a `Network`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.evaluation.predict import Network
from sdp.models.load import plain_forward


def torch_network(model: PreTrainedModel) -> Network:
    """Wrap a model for `predict_logits`: logits in float32, without dropout.

    Args:
        model: a model on any device; each call restores its mode.

    Returns:
        the network.
    """

    def network(inputs: Mapping[str, Tensor]) -> NDArray[np.float32]:
        placed = {name: values.to(model.device) for name, values in inputs.items()}
        was_training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                logits: NDArray[np.float32] = plain_forward(model, placed).logits.float().cpu().numpy()
        finally:
            model.train(was_training)
        return logits

    return network
