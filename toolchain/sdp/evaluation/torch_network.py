"""A torch classifier or tagger as a network that predicts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sdp.evaluation.predict import Network
from sdp.models.forward import plain_forward


def torch_network(model: PreTrainedModel) -> Network:
    """A model's logits in float32, without dropout.

    Args:
        model: on any device; each call leaves it in the mode that it was in.

    Returns:
        what `predict_logits` asks.
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
