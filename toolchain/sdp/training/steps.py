"""Optimizer steps of a training section: arithmetic shared by the plan and the training itself."""

from __future__ import annotations

import math

from sdp.recipe.base import TrainingSection


def optimizer_steps(rows: int, settings: TrainingSection) -> int:
    """Number of optimizer steps for `rows` training rows, whatever the devices; a last, smaller batch counts as one.

    Of 0 epochs there are none, of any more at least one; `steps` in the settings stands in place of the epochs.
    """
    if settings.steps is not None:
        return settings.steps
    if settings.epochs == 0:
        return 0
    return max(1, math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs))


def passes(rows: int, settings: TrainingSection) -> float:
    """How often a training goes over `rows` training rows."""
    if settings.steps is None:
        return settings.epochs
    return settings.steps / math.ceil(max(1, rows) / settings.batch_size)
