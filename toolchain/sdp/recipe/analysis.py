"""The recipe's [analysis]: measurements while a network is pruned."""

from __future__ import annotations

from pydantic import Field

from sdp.recipe.base import Section


class AnalysisSection(Section):
    """Effect of pruning on the network, measured around every mask update: separability, signal-to-noise ratio,
    similarity to the teacher, recovery. It changes no weight."""

    rows: int | None = Field(default=None, ge=0)
    """Dev rows that are measured, always the same; more rows give steadier values and take longer. 0: no analysis.
    Without it 32 to 256, so that all measurements together take a small part of the training time."""
    between: int = Field(default=1, ge=0)
    """Measurements between two mask updates, for the curve of recovery; after the last update five times as many."""
