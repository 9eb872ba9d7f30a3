"""Looks at the student around every mask update of a run, and now and then between them.

Order of events at an update: the criterion chooses the new masks; `before_update` reads weights and student; the masks
are applied; the recorder is called and reads the student again. Records go to the trainer's log, which a checkpoint
holds: a resumed run has those of its first part.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from sdp.pruning.analysis.measures import Measures, own_measures, student_measures, weight_measures
from sdp.pruning.analysis.probe import Probe
from sdp.training.hooks import Hook


class PruningAnalysis(Hook):
    """The analysis of one pruning run: a hook, listed after the mask updates.

    Made before training starts, when the student is still its own teacher: that is when the teacher is read.

    Args:
        probe: reads the student.
        points: steps at which it is looked at besides mask updates.
        classes: whether labels are classes.
    """

    def __init__(self, probe: Probe, points: Collection[int], *, classes: bool) -> None:
        self._probe = probe
        self.rows = probe.count
        self._classes = classes
        self._points = points
        self._teacher = probe()
        self._update: dict[str, Any] | None = None
        self._seconds = 0.0

    @property
    def teacher(self) -> Measures:
        """The teacher's own numbers on the sample."""
        return own_measures(self._teacher, classes=self._classes)

    def before_update(
        self, weights: Mapping[str, Tensor], old: Mapping[str, Tensor], new: Mapping[str, Tensor]
    ) -> None:
        """Read the weights and the student just before new masks are applied.

        Args:
            weights: name -> weight.
            old: name -> its mask until now.
            new: name -> its mask from now on.
        """
        started = time.monotonic()
        self._update = {"weights": weight_measures(weights, old, new), "before": self._look()}
        self._seconds = time.monotonic() - started

    def after_step(self, step: int) -> dict[str, Any] | None:
        """Read the student at the end of an optimizer step, after a mask update if there was one.

        Returns:
            under "analysis": "weights", "before" and "after" of an update, "between" at another point, each with
            "seconds"; None where there is nothing to look at.
        """
        if self._update is None and step not in self._points:
            return None
        started = time.monotonic()
        look = self._look()
        record = {"between": look} if self._update is None else {**self._update, "after": look}
        seconds = self._seconds + time.monotonic() - started
        self._update, self._seconds = None, 0.0
        return {"analysis": {**record, "seconds": seconds}}

    def _look(self) -> Measures:
        return student_measures(self._probe(), self._teacher, classes=self._classes)
