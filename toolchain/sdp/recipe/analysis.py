"""The section `[analysis]`: what is measured while a network is pruned."""

from __future__ import annotations

from pydantic import Field

from sdp.recipe.base import Section


class AnalysisSection(Section):
    """What pruning does to the network, measured around every mask update: separability, signal-to-noise ratio,
    likeness to the teacher, recovery. It changes no weight."""

    rows: int | None = Field(default=None, ge=0)
    """Dev rows that are looked at, always the same; more are steadier and take longer. 0: no analysis. Without it 32 to
    256, so many that all looks together take a small part of the time of training."""
    between: int = Field(default=1, ge=0)
    """Looks between two mask updates, for the curve of recovery; after the last update five times as many."""
