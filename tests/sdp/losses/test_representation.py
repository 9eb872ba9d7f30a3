"""How hidden states become rows, and which layers a recipe means."""

from __future__ import annotations

import pytest
import torch

from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.representation import represent, rows_of

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
HIDDEN = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1))


def test_represent_against_loops() -> None:
    means = [[sum(HIDDEN[b, t, d] for t in range(4) if MASK[b, t]) / sum(MASK[b]) for d in range(5)] for b in range(3)]
    assert torch.allclose(represent(HIDDEN, MASK, "mean"), torch.tensor(means))
    assert torch.equal(represent(HIDDEN, MASK, "first"), HIDDEN[:, 0])
    tokens = torch.stack([HIDDEN[b, t] for b in range(3) for t in range(4) if MASK[b, t]])
    assert torch.equal(represent(HIDDEN, MASK, "tokens"), tokens)


def test_padding_does_not_change_a_representation() -> None:
    other = torch.where(MASK.bool().unsqueeze(-1), HIDDEN, 1e6)
    for kind in ("mean", "first", "tokens"):
        assert torch.equal(represent(HIDDEN, MASK, kind), represent(other, MASK, kind))


def test_rows_come_from_the_cache_the_pooler_or_the_layer() -> None:
    pooled, stored = torch.ones(3, 5), torch.zeros(3, 5)
    output = NetworkOutput(hidden=(HIDDEN, HIDDEN * 2), pooled=pooled, stored={RowsKey("mean", 1): stored})
    assert rows_of(output, MASK, RowsKey("pooled")) is pooled
    assert rows_of(output, MASK, RowsKey("mean", 1)) is stored
    assert torch.equal(rows_of(output, MASK, RowsKey("first", 1)), HIDDEN[:, 0] * 2)
    for key in (RowsKey("pooled"), RowsKey("mean", 0)):
        with pytest.raises(ValueError, match="was not asked for"):
            rows_of(NetworkOutput(), MASK, key)
