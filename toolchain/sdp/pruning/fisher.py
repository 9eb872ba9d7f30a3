"""The block-diagonal empirical Fisher matrix, and what the optimal brain surgeon makes of it (arXiv 2203.07259).

Per block of weights F = (1/m) G G^T + lambda I, where the m columns of G are gradients of single steps; in float64. For
single weights all that is needed follows from m x m matrices by Woodbury's identity, and F itself is never formed.
Weights that go in groups have blocks of 32, and their F is formed: it is the smaller matrix where m is larger.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

# Weights of a block, consecutive in the flattened tensor, and the paper's dampening lambda.
BLOCK = 50
DAMPENING = 1e-7
# The same where weights go in groups, which divide it.
GROUPED_BLOCK = 32

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


def obs_group_scores(weight: Tensor, gradients: Tensor, size: int, dampening: float = DAMPENING) -> Tensor:
    """Rise of the loss when a group Q is removed and its block makes up for it: w_Q^T (F^-1[Q, Q])^-1 w_Q / 2.

    Groups that are removed at once are scored one by one here: the rise of all together is not the sum.

    Args:
        weight: [out, in], `in` a multiple of `size`.
        gradients: [m, weight.numel()], m >= 1.
        size: consecutive inputs in a group; GROUPED_BLOCK is a multiple of it.
        dampening: lambda.

    Returns:
        float32 [out, in / size].
    """
    scores = []
    for weights, columns in _chunks(weight, gradients, GROUPED_BLOCK):
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(_fisher(columns, dampening)))
        groups = inverse.unflatten(2, (-1, size)).unflatten(1, (-1, size))
        own = groups.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        of_groups = weights.unflatten(1, (-1, size))
        scores.append((of_groups * torch.linalg.solve(own, of_groups)).sum(dim=2).reshape(-1) / 2)
    return torch.cat(scores)[: weight.numel() // size].reshape(len(weight), -1).float()


def obs_group_update(weight: Tensor, gradients: Tensor, mask: Tensor, dampening: float = DAMPENING) -> Tensor:
    """`obs_update` in blocks of GROUPED_BLOCK weights: F_KK^-1 F_KQ w_Q, for all that a block loses at once.

    Args:
        weight: before pruning, any shape.
        gradients: [m, weight.numel()], m >= 1.
        mask: True where a weight is kept, of the weight's shape.
        dampening: lambda.

    Returns:
        the change, of the weight's shape and type; 0 where the weight is pruned.
    """
    changes = []
    # Without gradients, which are large: they come with the weights.
    masks = _chunks(mask, gradients[:0], GROUPED_BLOCK)
    for (weights, columns), (kept, _) in zip(_chunks(weight, gradients, GROUPED_BLOCK), masks, strict=True):
        matrix = _fisher(columns, dampening)
        lost = kept * (matrix @ (weights * (1 - kept)).unsqueeze(2)).squeeze(2)
        # The rows and columns of pruned weights become those of the identity.
        factor = torch.linalg.cholesky(matrix * kept.unsqueeze(1) * kept.unsqueeze(2) + torch.diag_embed(1 - kept))
        changes.append(torch.cholesky_solve(lost.unsqueeze(2), factor).reshape(-1))
    return torch.cat(changes)[: weight.numel()].reshape(weight.shape).to(weight.dtype)


def _fisher(columns: Tensor, dampening: float) -> Tensor:
    """F of each block, [blocks, block, block]; G [blocks, block, m]."""
    size, count = columns.shape[1:]
    return columns @ columns.mT / count + dampening * torch.eye(size, dtype=columns.dtype, device=columns.device)


def _chunks(values: Tensor, gradients: Tensor, block: int = BLOCK) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut into blocks, a chunk of them at a time: float64 values [blocks, block] and G [blocks, block, m].

    The last block is filled up with zeros, which have no part in anything: their gradients are zero.
    """
    flat = values.detach().reshape(-1)
    for start in range(0, flat.numel(), block * _CHUNK):
        stop = min(start + block * _CHUNK, flat.numel())
        filling = (0, -(stop - start) % block)
        block_values = functional.pad(flat[start:stop].double(), filling).unflatten(-1, (-1, block))
        columns = functional.pad(gradients[:, start:stop].double(), filling).unflatten(-1, (-1, block))
        yield block_values, columns.permute(1, 2, 0).contiguous()


def _factor(columns: Tensor, dampening: float) -> Tensor:
    """Cholesky factor of m lambda I + G^T G for each block; G [blocks, BLOCK, m]."""
    count = columns.shape[-1]
    diagonal = torch.eye(count, dtype=columns.dtype, device=columns.device) * (count * dampening)
    factor: Tensor = torch.linalg.cholesky(columns.mT @ columns + diagonal)
    return factor
