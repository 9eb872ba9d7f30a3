"""unit_times.json of the pruning stage: what units cost on the machine that pruned, with prune.target_speedup."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Positive, Stored

NotNegativeMs = Annotated[float, Field(ge=0)]


class PartTimes(Stored):
    """A part of a layer.

    Attributes:
        counts: how many units it may keep, rising from 0 to all.
        ms: its time with each of them.
    """

    counts: tuple[NotNegative, ...]
    ms: tuple[NotNegativeMs, ...]


class UnitTimes(Artifact):
    """Times in ms.

    Attributes:
        case: inputs, as the benchmark names them.
        threads: threads of an operator.
        dense: the dense file.
        rest: the exported file without any units.
        parts: by name.
    """

    STAGE = "prune"
    FILE = "unit_times.json"

    case: str
    threads: Count
    dense: Positive
    rest: NotNegativeMs
    parts: dict[str, PartTimes]

    @property
    def whole(self) -> float:
        """Time of the exported file with all units."""
        return self.rest + sum(part.ms[-1] for part in self.parts.values())
