"""training/attention.py: which kernel computes attention, and that the numbers are the same."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from sdp.training.attention import MOST_TOKENS, training_attention


def fused_calls(tokens: int, *, bf16: bool, device: str = "cpu") -> int:
    """How often torch's fused kernel runs, forwards and backwards."""
    shape, dtype = (2, 2, tokens, 8), torch.bfloat16 if bf16 else torch.float32
    query, key, value = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
    with (
        profile(activities=[ProfilerActivity.CPU]) as seen,
        training_attention(torch.device(device), tokens, bf16=bf16),
    ):
        scaled_dot_product_attention(query, key, value).sum().backward()
    return sum(event.count for event in seen.key_averages() if "flash" in event.key)


@pytest.mark.parametrize(
    ("tokens", "bf16", "device", "fused"),
    [
        (MOST_TOKENS, True, "cpu", False),
        (MOST_TOKENS + 1, True, "cpu", True),
        (MOST_TOKENS, False, "cpu", True),
        (MOST_TOKENS, True, "cuda", True),
    ],
)
def test_short_sequences_in_bf16_on_a_cpu_do_without_the_fused_kernel(
    tokens: int, bf16: bool, device: str, fused: bool
) -> None:
    assert (fused_calls(tokens, bf16=bf16, device=device) > 0) == fused


def test_it_is_the_same_attention() -> None:
    torch.manual_seed(0)
    exact = [torch.randn(2, 2, 9, 8, dtype=torch.float64) for _ in range(3)]
    seen = torch.ones(2, 1, 9, 9, dtype=torch.bool)
    seen[0, ..., 6:] = False
    expected = scaled_dot_product_attention(*exact, attn_mask=seen)
    rounded = [tensor.bfloat16() for tensor in exact]
    with training_attention(torch.device("cpu"), 9, bf16=True):
        found = scaled_dot_product_attention(*rounded, attn_mask=seen)
    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)
