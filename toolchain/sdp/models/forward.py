"""A model's own forward pass, in the precision of its weights also while training runs in another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel


def plain_forward(model: PreTrainedModel, inputs: Mapping[str, Tensor], **options: Any) -> Any:
    """Call the forward of the model's class.

    Accelerate puts an autocast around the forward of a model that is trained in bf16, and leaves it there.

    Args:
        model: in training or not.
        inputs: what its tokenizer makes, each [B, L].
        options: other arguments of its forward.

    Returns:
        the model's output.
    """
    return type(model).forward(model, **inputs, **options)
