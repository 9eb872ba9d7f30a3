"""The layers of an encoder, as torch modules."""

from __future__ import annotations

from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.architectures import supported_types
from sdp.models.parts import block_of, is_prunable


def layer_classes(model: PreTrainedModel) -> list[str]:
    """Names of the classes of the encoder's layers; XLM has attention and feed-forward layers in two lists.

    Raises:
        ModelError: no layer with linear weights is found.
    """
    linear = (name for name, weight in model.named_parameters() if is_prunable(name, weight.dim()))
    blocks = dict.fromkeys(block_of(name) for name in linear)
    if not blocks:
        what = f"no encoder layers were found in a {model.config.model_type} model"
        raise ModelError(what, where=type(model).__name__, hint=supported_types())
    return list(dict.fromkeys(type(model.get_submodule(block)).__name__ for block in blocks))
