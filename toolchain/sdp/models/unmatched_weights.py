"""Weights of a checkpoint that the model has no place for, and weights of the model that the checkpoint lacks.

Loading a model finds all of them (`require_all_weights`). `sdp check` finds some by their names, without torch
(`refuse_unused`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sdp.errors import ModelError
from sdp.models.architectures import ANY_LAYOUT
from sdp.models.parts import encoder_shape, layer_number, part_of, tensor_shapes
from sdp.models.source import ModelFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def require_all_weights(model: PreTrainedModel, loaded: Mapping[str, Any], where: str, *, keep_head: bool) -> None:
    """See that only a head differs between checkpoint and model: an encoder of random numbers is none, and one that
    lacks weights which it was trained with computes something else.

    Args:
        model: the model.
        loaded: transformers' loading information: "missing_keys", "mismatched_keys", "unexpected_keys".
        where: the folder, for messages.
        keep_head: whether the head is the checkpoint's, and must be whole as well.

    Raises:
        ModelError: weights are missing, of another shape, or left over.
    """
    random = {*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])}
    lacking = sorted(name for name in random if keep_head or _is_encoders(model, name))
    if lacking:
        what = f"{len(lacking)} are missing or of another shape, such as {lacking[0]}"
        raise ModelError(f"the weights do not fit config.json: {what}", where=where)
    left = [name for name in sorted(loaded["unexpected_keys"]) if _is_encoders(model, name)]
    if left:
        raise _unused_error(type(model).__name__, left, where)


def refuse_unused(folder: ModelFolder) -> None:
    """Reject weights of relative positions, or of layers beyond the number in config.json.

    Raises:
        ModelError: some are, or a safetensors file is damaged.
    """
    layers = encoder_shape(folder)[1]
    unused = [
        name
        for name in sorted(tensor_shapes(folder))
        if not name.startswith(ANY_LAYOUT.pretraining_heads)
        and (
            any(part in name for part in ANY_LAYOUT.not_computed)
            or (layers is not None and layer_number(name) >= layers)
        )
    ]
    if unused:
        raise _unused_error("AutoModel", unused, str(folder.path))


def _is_encoders(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight without a place belongs to the encoder or its embeddings, rather than to another head."""
    inner = name.removeprefix(f"{model.base_model_prefix}.")
    root = inner.partition(".")[0]
    # Model classes without a pooler, which makes one vector of all tokens, leave it out.
    if name.startswith(ANY_LAYOUT.pretraining_heads) or root.startswith(ANY_LAYOUT.outside):
        return False
    # Constants that older versions stored, such as the numbers of positions.
    if any(buffer.endswith(inner) for buffer, _ in model.named_buffers()):
        return False
    roots = {child for child, _ in model.base_model.named_children()} if model.base_model is not model else set()
    return inner != name or root in roots or part_of(name) != "rest"


def _unused_error(model_class: str, names: list[str], where: str) -> ModelError:
    """The error for weights, at least one, that a model class has no place for."""
    hint = (
        "transformers computes this kind of model without them, or config.json is not that of these weights. Take "
        "another checkpoint; if the model is to do without them, write it once without: "
        f"{model_class}.from_pretrained(FOLDER).save_pretrained(NEW), and copy the tokenizer's files."
    )
    what = f"weights of the encoder have no place in {model_class}: {len(names)}, such as {names[0]}"
    return ModelError(what, where=where, hint=hint)
