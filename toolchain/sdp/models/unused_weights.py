"""Weights of an encoder that no model class of transformers has a place for, as far as names tell. Needs no torch.

Loading the model finds all of them (`used_weights`); `sdp check` asks here.
"""

from __future__ import annotations

import re

from sdp.errors import ModelError
from sdp.models.parts import PRETRAINING_HEADS, encoder_shape, tensor_shapes
from sdp.models.source import ModelFolder

# Relative positions of BERT and its kin (position_embedding_type "relative_key"): transformers 5 does not compute them.
_RELATIVE_POSITIONS = ".distance_embedding."
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def unused_error(model_class: str, names: list[str], where: str) -> ModelError:
    """The error for weights without a place.

    Args:
        model_class: the class that has none for them.
        names: the weights; at least one.
        where: the model's folder.
    """
    hint = (
        "transformers computes this kind of model without them, or config.json is not that of these weights. Take "
        "another checkpoint; if the model is to do without them, write it once without: "
        f"{model_class}.from_pretrained(FOLDER).save_pretrained(NEW), and copy the tokenizer's files."
    )
    what = f"weights of the encoder have no place in {model_class}: {len(names)}, such as {names[0]}"
    return ModelError(what, where=where, hint=hint)


def refuse_unused(folder: ModelFolder) -> None:
    """See that no weights are of relative positions, or of layers beyond those of config.json.

    Raises:
        ModelError: some are, or a safetensors file is damaged.
    """
    layers = encoder_shape(folder)[1]
    unused = [
        name
        for name in sorted(tensor_shapes(folder))
        if not name.startswith(PRETRAINING_HEADS)
        and (_RELATIVE_POSITIONS in name or (layers is not None and _layer_of(name) >= layers))
    ]
    if unused:
        raise unused_error("AutoModel", unused, str(folder.path))


def _layer_of(name: str) -> int:
    found = _LAYER.search(name)
    return int(found[1]) if found else -1
