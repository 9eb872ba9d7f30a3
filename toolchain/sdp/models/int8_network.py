"""A network of transformers that computes as its exported int8 file does, switched on and off in place.

Mirrors `sdp_onnx.export.kernel_graph`: linear layers on [batch, tokens, features] are multiplied in int8, large tables
rounded, and attention that the operator library computes rounded where sequences are long enough. What stands behind
the encoder (pooler, classifier of a text) and small tables stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sdp.models.architectures import find_architecture
from sdp.models.int8_arithmetic import int8_attention, int8_linear, rounded_rows
from sdp.models.layers import prunable_weights
from sdp.models.removal import Constant
from sdp_onnx.operators.int8_coverage import (
    FEWEST_KEYS,
    MOST_KEYS,
    attends_in_int8,
    looked_up_in_int8,
    multiplied_in_int8,
)

# The names of attention in transformers' registry; sdpa is what these models are loaded with.
_INT8, _FLOAT = "sdp_int8", "sdpa"


@contextmanager
def computing_in_int8(model: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Let a model compute in int8 for the block, and as it was made afterwards; unless wanted, nothing is changed."""
    if not wanted:
        yield
        return
    compute_in_int8(model, True)
    try:
        yield
    finally:
        compute_in_int8(model, False)


def compute_in_int8(model: PreTrainedModel, wanted: bool) -> None:
    """Let a model compute in int8 from now on, or as it was made. Its parameters stay what they are.

    Nothing happens to a model whose weights have no shape that int8 operators take: it is exported without them.
    """
    if not any(multiplied_in_int8(*weight.shape[::-1]) for weight in prunable_weights(model).values()):
        return
    for module in model.modules():
        forward = _forward_of(module)
        if forward is None:
            continue
        # An attribute of the module itself hides the method of its class.
        if wanted:
            module.forward = partial(forward, module)
        else:
            vars(module).pop("forward", None)
    if _attends_in_int8(model):
        model.set_attn_implementation(_INT8 if wanted else _FLOAT)


def _forward_of(module: nn.Module) -> Callable[..., Tensor] | None:
    # What is left of a part without heads or neurons multiplies nothing.
    if isinstance(module, nn.Linear) and not isinstance(module, Constant):
        return _linear
    if isinstance(module, nn.Embedding) and looked_up_in_int8(module.num_embeddings):
        return _embedding
    return None


def _linear(module: nn.Linear, x: Tensor) -> Tensor:
    if x.dim() == 3 and multiplied_in_int8(module.in_features, module.out_features):
        return int8_linear(x, module.weight, module.bias)
    with torch.autocast(x.device.type, enabled=False):
        return functional.linear(x.float(), module.weight, module.bias)


def _embedding(module: nn.Embedding, rows: Tensor) -> Tensor:
    # Rounding the rows that are looked up is rounding the table, and takes a fraction of the time.
    found = type(module).forward(module, rows)
    return rounded_rows(found)


def _attends_in_int8(model: PreTrainedModel) -> bool:
    row, config = find_architecture(model.config.model_type), model.config
    rounded = row is not None and row.packed_attention and not row.written_out
    return rounded and attends_in_int8(config.hidden_size // config.num_attention_heads)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of transformers' registry: in int8 for the sequences for which the operator computes it so.

    Args:
        module: the layer's attention.
        query: [B, heads, L, size].
        key: [B, heads, L, size].
        value: [B, heads, L, size].
        attention_mask: the keys that are seen, bool [B, 1, L, L]; None: all.
        dropout: share of the attention that is dropped.
        scaling: of the scores.
        options: for attention in float.

    Returns:
        [B, L, heads, size], and no scores.
    """
    query, key, value = query.float(), key.float(), value.float()
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    seen = _seen_keys(query, attention_mask)
    long = _long_enough(seen)

    def exact() -> Tensor:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scale, **options
        )
        return out

    def rounded(rows: Tensor | slice) -> Tensor:
        return int8_attention(query[rows], key[rows], value[rows], seen[rows], scale, dropout).transpose(1, 2)

    with torch.autocast(query.device.type, enabled=False):
        if long is None or not bool(long.any()) or _differs(attention_mask):
            return exact(), None
        if bool(long.all()):
            return rounded(slice(None)), None
        return exact().index_put((long,), rounded(long)), None


def _seen_keys(query: Tensor, mask: Tensor | None) -> Tensor:
    """The keys that the queries of each sequence see, bool [B, L]."""
    batch, _, length, _ = query.shape
    if mask is None:
        return torch.ones(batch, length, dtype=torch.bool, device=query.device)
    return mask[:, 0, 0].expand(batch, length)


def _differs(mask: Tensor | None) -> bool:
    """Whether queries of a sequence see different keys, as in a window of neighbours; the file does not round that."""
    return mask is not None and bool((mask != mask[:, :, :1]).any())


def _long_enough(seen: Tensor) -> Tensor | None:
    """The sequences whose attention the operator computes in int8, bool [B], by their last key; None: none can be."""
    length = seen.shape[1]
    if length < FEWEST_KEYS:
        return None
    keys = (seen * torch.arange(1, length + 1, device=seen.device)).amax(1)
    return (keys >= FEWEST_KEYS) & (keys <= MOST_KEYS)


AttentionInterface.register(_INT8, _attention)
AttentionMaskInterface.register(_INT8, sdpa_mask)
