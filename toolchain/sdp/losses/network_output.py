"""What a network gives for a batch, as losses read it. Needs torch for its types alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

from sdp.recipe.losses import Representation


@dataclass(frozen=True)
class RowsKey:
    """Which rows: their kind, and the layer they are from (0 the embeddings' output; no matter for "pooled")."""

    kind: Representation
    layer: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "pooled" else f"{self.kind}-{self.layer}"


@dataclass(frozen=True)
class NetworkOutput:
    """A network's output on a batch; parts that no loss reads are absent.

    Attributes:
        logits: [B, C], or [B, L, C] for tagging and question answering.
        hidden: hidden states, the embeddings' output first, then that of every layer, each [B, L, d].
        pooled: what the classifier's last linear layer reads, [B, d].
        stored: rows from a cache in place of `hidden` and `pooled`, [B, d] each, or [real tokens, d].
        weights: prunable weights by name, [out, in], after masking.
    """

    logits: Tensor | None = None
    hidden: tuple[Tensor, ...] | None = None
    pooled: Tensor | None = None
    stored: Mapping[RowsKey, Tensor] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
