"""The arithmetic of the operator library's int8 kernels, in torch: pure functions, with straight-through gradients.

Inputs are rounded to integers in [-127, 127] with one scale for each token, weights with one for each output, and their
product is exact: the operators add 128 to the inputs and take it off again. So a network that computes with these
functions gives what the exported file gives, up to the order in which floats are added.

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
from torch.nn import functional

from sdp.compat.torch import int8_product

# Integers of a product, and shares of attention: the largest are these.
LARGEST, LARGEST_SHARE = 127, 255

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
    out: Tensor = _StraightThrough.apply(exact, rounded)
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
    out: Tensor = _Int8Linear.apply(x, weight, bias)
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
    takes of each value to 1/255 of what it takes of the first.

    Args:
        query: float32 [B, heads, queries, size].
        key: float32 [B, heads, keys, size].
        value: float32 [B, heads, keys, size].
        visible: the keys that are seen, bool [B, keys]; at least one of each row.
        scale: of the scores.
        dropout: share of the shares that are dropped in training.

    Returns:
        float32 [B, heads, queries, size].
    """
    seen = visible[:, None, None, :]
    value = value.masked_fill(~seen.transpose(2, 3), 0.0)
    scores = scale * (_rounded_inputs(query) @ _rounded_inputs(key).transpose(2, 3))
    scores = scores.masked_fill(~seen, -math.inf)
    shares = straight_through(scores.softmax(-1), _rounded_shares(scores.detach()))
    return functional.dropout(shares, dropout) @ _rounded_inputs(value, dim=-2)


def _rounded_inputs(x: Tensor, dim: int = -1) -> Tensor:
    integers, scale = round_inputs(x.detach(), dim)
    return straight_through(x, integers * scale)


def _rounded_shares(scores: Tensor) -> Tensor:
    """Softmax over the last dimension in steps of 1/255 of the largest share."""
    steps = (scores - scores.amax(-1, keepdim=True)).mul_(math.log2(math.e))
    whole = (LARGEST_SHARE * _exp2_coarse(steps)).round_()
    return whole / whole.sum(-1, keepdim=True)


def _exp2_coarse(x: Tensor) -> Tensor:
    """2^x to 1.5e-4, for x at most 0: the polynomial of `exp2_coarse` in native/kernels/vector.h."""
    x = x.clamp(min=-126)
    nearest = x.round()
    rest = x - nearest
    power = ((5.50083555e-2 * rest + 2.42209822e-1) * rest + 6.93282843e-1) * rest + 1
    return torch.ldexp(power, nearest)
