"""How attention is computed in training: backwards, torch's fused kernel is slow on a CPU in bfloat16.

A step of all-MiniLM-L6-v2 with 32 sequences of 16, 32, 64 and 128 tokens took 1.31, 1.20, 1.18 and 1.11 times as long
with the fused kernel as without (2 threads, AVX512-BF16; `benchmarks/costs/training_precision.py`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

MOST_TOKENS = 128
"""Longest sequences whose attention is computed product by product: above, the fused kernel takes less memory, and from
about 256 less time."""


def training_attention(device: torch.device, tokens: int, *, bf16: bool) -> AbstractContextManager[None]:
    """The context in which a batch is read forwards and backwards: for short sequences in bfloat16 on a CPU, attention
    is computed product by product, in float32.

    Args:
        device: of the network.
        tokens: length of the batch's sequences.
        bf16: whether the network's products are computed in bfloat16.
    """
    if device.type != "cpu" or not bf16 or tokens > MOST_TOKENS:
        return nullcontext()
    return sdpa_kernel(SDPBackend.MATH)
