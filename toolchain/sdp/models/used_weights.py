"""That a model got all its weights from the checkpoint, and the checkpoint's all went into the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.parts import PRETRAINING_HEADS, part_of
from sdp.models.unused_weights import unused_error

# Names of the part that makes one vector of all tokens: model classes without it leave it out.
_POOLER = "pooler"


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
        raise unused_error(type(model).__name__, left, where)


def _is_encoders(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight without a place belongs to the encoder or its embeddings, rather than to another head."""
    inner = name.removeprefix(f"{model.base_model_prefix}.")
    root = inner.partition(".")[0]
    if name.startswith(PRETRAINING_HEADS) or root.startswith(_POOLER):
        return False
    # Constants that older versions stored, such as the numbers of positions.
    if any(buffer.endswith(inner) for buffer, _ in model.named_buffers()):
        return False
    roots = {child for child, _ in model.base_model.named_children()} if model.base_model is not model else set()
    return inner != name or root in roots or part_of(name) != "rest"
