"""The block-diagonal empirical Fisher matrix, and what the optimal brain surgeon makes of it (arXiv 2203.07259).

Per block of weights F = (1/m) G G^T + lambda I, where the m columns of G are gradients of single steps. All that is
needed follows from m x m matrices by Woodbury's identity, in float64; F itself is never formed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

# Weights of a block, consecutive in the flattened tensor, and the paper's dampening lambda.
BLOCK = 50
DAMPENING = 1e-7

# Blocks worked on at once: bounds the memory for the m x m matrices.
_CHUNK = 8192


def obs_scores(weight: Tensor, gradients: Tensor, dampening: float = DAMPENING) -> Tensor:
    """Rise of the loss when a weight is removed and its block makes up for it: w^2 / (2 [F^-1]_qq).

    [F^-1]_qq = (1 - g_q (m lambda I + G^T G)^-1 g_q^T) / lambda, with g_q row q of G.

    Args:
        weight: any shape.
        gradients: [m, weight.numel()]; without any (m = 0) F = lambda I.
        dampening: lambda.

    Returns:
        float32 of the weight's shape.
    """
    scores = []
    for weights, columns in _chunks(weight, gradients):
        solved = torch.cholesky_solve(columns.mT, _factor(columns, dampening))
        inverse = (1 - torch.linalg.vecdot(columns, solved.mT)) / dampening
        scores.append((weights.square() / (2 * inverse)).float())
    return torch.cat(scores).reshape(-1)[: weight.numel()].reshape(weight.shape)


def obs_update(weight: Tensor, gradients: Tensor, mask: Tensor, dampening: float = DAMPENING) -> Tensor:
    """Change of the kept weights that makes up best for all the pruned ones Q of their block at once.

    It is delta = -F^-1[:, Q] (F^-1[Q, Q])^-1 w_Q on the kept weights K, which equals F_KK^-1 F_KQ w_Q
    = G_K (m lambda I + G_K^T G_K)^-1 G_Q^T w_Q.

    Args:
        weight: before pruning, any shape.
        gradients: [m, weight.numel()].
        mask: True where a weight is kept, of the weight's shape.
        dampening: lambda.

    Returns:
        the change, of the weight's shape and type; 0 where the weight is pruned.
    """
    changes = []
    for (weights, columns), (kept, _) in zip(_chunks(weight, gradients), _chunks(mask, gradients), strict=True):
        kept_columns = columns * kept.unsqueeze(-1)
        lost = (columns - kept_columns).mT @ (weights * (1 - kept)).unsqueeze(-1)
        changes.append((kept_columns @ torch.cholesky_solve(lost, _factor(kept_columns, dampening))).squeeze(-1))
    return torch.cat(changes).reshape(-1)[: weight.numel()].reshape(weight.shape).to(weight.dtype)


def _chunks(values: Tensor, gradients: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut into blocks, a chunk of them at a time: float64 values [blocks, BLOCK] and G [blocks, BLOCK, m].

    The last block is filled up with zeros, which have no part in anything: their gradients are zero.
    """
    flat = values.detach().reshape(-1)
    for start in range(0, flat.numel(), BLOCK * _CHUNK):
        stop = min(start + BLOCK * _CHUNK, flat.numel())
        filling = (0, -(stop - start) % BLOCK)
        block_values = functional.pad(flat[start:stop].double(), filling).unflatten(-1, (-1, BLOCK))
        columns = functional.pad(gradients[:, start:stop].double(), filling).unflatten(-1, (-1, BLOCK))
        yield block_values, columns.permute(1, 2, 0).contiguous()


def _factor(columns: Tensor, dampening: float) -> Tensor:
    """Cholesky factor of m lambda I + G^T G for each block; G [blocks, BLOCK, m]."""
    count = columns.shape[-1]
    diagonal = torch.eye(count, dtype=columns.dtype, device=columns.device) * (count * dampening)
    factor: Tensor = torch.linalg.cholesky(columns.mT @ columns + diagonal)
    return factor
