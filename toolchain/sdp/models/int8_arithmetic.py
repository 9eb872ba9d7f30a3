"""The arithmetic of the operator library's int8 kernels, in torch: pure functions, with straight-through gradients.

Inputs are rounded to integers in [-127, 127] with one scale for each token, weights with one for each output, and their
product is exact: the operators add 128 to the inputs and take it off again. So a network that computes with these
functions gives what the exported file gives, up to the order in which floats are added. That shows where a value lies
within float rounding of the middle between two steps: it may be rounded either way, and then a row differs by a step.

Rounding has no useful derivative; as usual in quantization-aware training (straight-through estimator, Bengio et al.,
arXiv 1308.3432; Jacob et al., arXiv 1712.05877) the gradient passes it as if it were not there.

The kernels are in export/native/kernels/body.h and attention_body.h, the rounding of weights in
`sdp_onnx.operators.weight_formats.round_rows`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sdp.compat.torch import int8_product

# Integers of a product, and shares of attention: the largest are these.
LARGEST, LARGEST_SHARE = 127, 255

_LOG2_E = math.log2(math.e)

# A token of zeros has scale zero; its inverse only has to be finite.
_SMALLEST = 1e-30


def round_inputs(x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    """Round activations as the operators do, with one scale for all values along a dimension.

    Returns:
        integers as floats, and their scales, of size 1 in that dimension.
    """
    largest = x.abs().amax(dim, keepdim=True)
    return (x * (LARGEST / largest.clamp(min=_SMALLEST))).round(), largest * (1 / LARGEST)


def round_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a weight as the exporter does, with one scale for each row: a pruned weight stays zero.

    Args:
        weight: [rows, columns].

    Returns:
        integers as floats [rows, columns], and their scales [rows, 1]; of a row of zeros 1.
    """
    largest = weight.abs().amax(-1, keepdim=True)
    scale = torch.where(largest > 0, largest / LARGEST, 1.0)
    return (weight / scale).round().clamp(-LARGEST, LARGEST), scale


def rounded_rows(weight: Tensor) -> Tensor:
    """The values of a weight rounded by `round_rows`, with straight-through gradients, [rows, columns]."""
    integers, scale = round_rows(weight.detach())
    return straight_through(weight, integers * scale)


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, whose gradient goes to `exact` unchanged."""
    out: Tensor = _StraightThrough.apply(exact, rounded)  # type: ignore[no-untyped-call]
    return out


class _StraightThrough(torch.autograd.Function):
    # exact + (rounded - exact).detach() would lose digits.
    @staticmethod
    def forward(ctx: Any, exact: Tensor, rounded: Tensor) -> Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def int8_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + bias as an int8 operator computes it.

    Under autocast the backward pass, which needs no exact sums, is computed in its lower precision.

    Args:
        x: [..., in_features].
        weight: [out_features, in_features].
        bias: [out_features].

    Returns:
        float32 [..., out_features].
    """
    out: Tensor = _Int8Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _Int8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        inputs, scale = round_inputs(x.float().reshape(-1, x.shape[-1]))
        values, row_scale = round_rows(weight.float())
        # As integers they take a quarter of the memory.
        kept = inputs.to(torch.int8), values.to(torch.int8)
        ctx.save_for_backward(*kept, scale, row_scale)
        ctx.shape, ctx.like = x.shape, (x.dtype, weight.dtype)
        ctx.dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        out = int8_product(*kept) * row_scale.T * scale
        if bias is not None:
            out += bias
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, values, scale, row_scale = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, len(values))
        of_x, of_weight, of_bias = None, None, None
        if ctx.needs_input_grad[0]:
            product = (gradient * row_scale.T).to(ctx.dtype) @ values.to(ctx.dtype)
            of_x = product.to(ctx.like[0]).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            of_weight = ((gradient * scale).to(ctx.dtype).T @ inputs.to(ctx.dtype)).to(ctx.like[1])
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(0)
        return of_x, of_weight, of_bias


def int8_attention(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float, dropout: float = 0.0
) -> Tensor:
    """Attention as the int8 operator computes it for sequences that are long enough.

    Queries and keys are rounded by token and head, values by feature over the keys that are seen, and what a query
    takes of each value to 1/255 of the most that it takes of one. The gradient is attention's with these values.

    Args:
        query: float32 [B, heads, queries, size].
        key: float32 [B, heads, keys, size].
        value: float32 [B, heads, keys, size].
        visible: the keys that are seen, bool [B, keys]; at least one of each row.
        scale: of the scores.
        dropout: probability with which what a query takes of a value is dropped.

    Returns:
        float32 [B, heads, queries, size].
    """
    out: Tensor = _Int8Attention.apply(query, key, value, visible, scale, dropout)  # type: ignore[no-untyped-call]
    return out


class _Int8Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float, dropout: float
    ) -> Tensor:
        seen = visible[:, None, None, :]
        queries, query_scale = round_inputs(query)
        keys, key_scale = round_inputs(key)
        values, value_scale = round_inputs(value.masked_fill(~seen.transpose(2, 3), 0.0), dim=-2)
        scores = (queries @ keys.transpose(2, 3)).mul_(key_scale.transpose(2, 3))
        scores.mul_(query_scale * (scale * _LOG2_E)).masked_fill_(~seen, -math.inf)
        shares = _rounded_shares(scores)
        total = shares.sum(-1, keepdim=True)
        # As bytes: there may be many more shares than activations.
        kept = shares.to(torch.uint8)
        drawn = torch.empty_like(kept, dtype=torch.bool).bernoulli_(1 - dropout) if dropout > 0 else None
        integers = (part.to(torch.int8) for part in (queries, keys, values))
        ctx.save_for_backward(*integers, query_scale, key_scale, value_scale, kept, total, drawn)
        ctx.scale, ctx.dropout = scale, dropout
        return (_dropped(shares, drawn, dropout) @ values) * value_scale / total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, query_scale, key_scale, value_scale, shares, total, drawn = ctx.saved_tensors
        taken = shares / total
        of_value = _dropped(taken, drawn, ctx.dropout).transpose(2, 3) @ gradients[0]
        of_taken = _dropped(gradients[0] @ (values * value_scale).transpose(2, 3), drawn, ctx.dropout)
        of_scores = (of_taken - (of_taken * taken).sum(-1, keepdim=True)).mul_(taken).mul_(ctx.scale)
        of_query = of_scores @ (keys * key_scale)
        of_key = of_scores.transpose(2, 3) @ (queries * query_scale)
        return of_query, of_key, of_value, None, None, None


def _dropped(x: Tensor, drawn: Tensor | None, dropout: float) -> Tensor:
    return x if drawn is None else x * drawn / (1 - dropout)


def _rounded_shares(scores: Tensor) -> Tensor:
    """255 times 2^scores over the largest of the last dimension, rounded; overwrites the scores."""
    scores.sub_(scores.amax(-1, keepdim=True))
    return _exp2_coarse(scores).mul_(LARGEST_SHARE).round_()


def _exp2_coarse(x: Tensor) -> Tensor:
    """2^x to 1.5e-4, for x at most 0: the polynomial of `exp2_coarse` in native/kernels/vector.h; overwrites x."""
    x.clamp_(min=-126)
    whole = x.round()
    x.sub_(whole)
    power = (x * 5.50083555e-2).add_(2.42209822e-1).mul_(x).add_(6.93282843e-1).mul_(x).add_(1)
    # 2^whole from its bits: torch's power function takes longer than all the rest.
    return power.mul_(whole.to(torch.int32).add_(127).bitwise_left_shift_(23).view(torch.float32))
