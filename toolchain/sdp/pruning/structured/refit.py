"""Refit the layer behind removed units, so that its outputs change least."""

from __future__ import annotations

import torch
from torch import Tensor

from sdp.pruning.least_squares import damped

DAMPING = 0.01
"""What is added to the diagonal of a Gram matrix, as a share of its mean."""


def refitted_to_kept(weight: Tensor, gram: Tensor, kept: Tensor) -> Tensor:
    """Return the weights that compute from the kept inputs what a layer computed from all of them.

    Least squares in closed form, with S the kept inputs: W'[:, S] = W H[:, S] H[S, S]^-1 minimizes
    tr((W - W') H (W - W')^T), the squared change of the outputs y = W x, among all weights that read nothing else.

    Args:
        weight: W, [out, in], with the bias as its last column where the layer has one.
        gram: H, sum of x x^T over tokens, float64 [in, in]; a share of its mean is added to the diagonal.
        kept: bool [in].

    Returns:
        W', [out, in], zero where nothing is kept.
    """
    whole = damped(gram, DAMPING).to(weight.device)
    kept = kept.to(weight.device)
    fitted = torch.zeros_like(weight)
    if bool(kept.any()):
        wanted = weight.double() @ whole[:, kept]
        factor = torch.linalg.cholesky(whole[kept][:, kept])
        fitted[:, kept] = torch.cholesky_solve(wanted.T, factor).T.to(weight.dtype)
    return fitted
