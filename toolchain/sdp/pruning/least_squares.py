"""Least squares on a layer's inputs: what weights add to the outputs, and what the kept ones become.

A linear layer y = W x with inputs x has the Gram matrix H = sum of x x^T over tokens. What the layer computes changes
by tr((W - W') H (W - W')^T) when W becomes W', whatever the layers around it are. Pure functions, in the precision of
their arguments.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A row is solved when its residual is this many rounding errors of what is wanted.
_PRECISION = 100
# Steps for each unknown: in exact arithmetic one is enough.
_MOST_STEPS = 4


def damped(gram: Tensor, damping: float) -> Tensor:
    """Return the Gram matrix with a share of its mean diagonal added to the diagonal, [in, in].

    Directions in which the inputs do not vary have an eigenvalue of 0, and the systems no single solution.
    """
    return gram + torch.eye(len(gram), dtype=gram.dtype, device=gram.device) * (damping * gram.diagonal().mean())


def output_energies(weight: Tensor, gram: Tensor, block: int = 1) -> Tensor:
    """Squared output of a block of weights alone: w_Q^T H_QQ w_Q, which is (|w| |x|)^2 for one weight (Wanda, arXiv
    2306.11695).

    Args:
        weight: [out, in].
        gram: H, [in, in].
        block: consecutive inputs in a block; `in` is a multiple of it.

    Returns:
        [out, in / block].
    """
    count = weight.shape[1] // block
    blocks = weight.unflatten(1, (count, block))
    places = torch.arange(weight.shape[1], device=weight.device).view(count, block)
    own = gram[places.unsqueeze(2), places.unsqueeze(1)]
    return torch.einsum("ocb,cbd,ocd->oc", blocks, own, blocks).clamp_min(0)


def refitted(
    wanted: Tensor, gram: Tensor, mask: Tensor, *, start: Tensor | None = None, steps: int | None = None
) -> Tensor:
    """Return weights with a mask that compute wanted outputs y as nearly as they can.

    Row by row, with the kept inputs S: w = (sum of y x^T)[S] (H[S, S])^-1, the least squares solution. No other weights
    with this mask have a smaller squared error. All rows are solved together by conjugate gradients with the diagonal
    as preconditioner (Hestenes and Stiefel 1952). A step is one product with H for all rows, where every row's own
    H[S, S] would have to be factorized.

    Args:
        wanted: sum of y x^T over tokens, [out, in]; W H for the outputs of weights W on the same inputs.
        gram: H, [in, in], positive definite (`damped`).
        mask: bool [out, in], True where a weight is kept.
        start: weights to start from, [out, in]; 0 without it.
        steps: most steps; after so few that nothing changes any more without it. Each brings the error down.

    Returns:
        [out, in], 0 where the mask is False.
    """
    kept = mask.to(wanted.dtype)
    diagonal = gram.diagonal()
    weights = torch.zeros_like(wanted) if start is None else start * kept
    tolerance = torch.finfo(wanted.dtype).eps * _PRECISION * (wanted * kept).norm(dim=1)
    residual = (wanted - weights @ gram) * kept
    towards = residual / diagonal
    product = (residual * towards).sum(dim=1, keepdim=True)
    for _ in range(_MOST_STEPS * len(gram) if steps is None else steps):
        if bool((residual.norm(dim=1) <= tolerance).all()):
            break
        image = (towards @ gram) * kept
        # A row that is solved has no direction left.
        length = product / (towards * image).sum(dim=1, keepdim=True).clamp_min(torch.finfo(wanted.dtype).tiny)
        weights += length * towards
        residual -= length * image
        scaled = residual / diagonal
        before, product = product, (residual * scaled).sum(dim=1, keepdim=True)
        towards = scaled + towards * (product / before.clamp_min(torch.finfo(wanted.dtype).tiny))
    return weights
