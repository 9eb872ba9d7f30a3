"""Optimizer steps of a training section: arithmetic shared by the plan and the training itself."""

from __future__ import annotations

import math

from sdp.recipe.base import TrainingSection

USUAL_EPOCHS = 3.0


def optimizer_steps(rows: int, settings: TrainingSection) -> int:
    """Number of optimizer steps for `rows` training rows, whatever the devices; a last, smaller batch counts as one.

    Of 0 epochs there are none, of any more at least one; `steps` in the settings stands in place of the epochs. Without
    either there are 3 epochs, and at least `settings.least_steps`.
    """
    if settings.steps is not None:
        return settings.steps
    if not settings.trains:
        return 0
    steps_of_an_epoch = math.ceil(rows / settings.batch_size)
    if settings.epochs is None:
        return max(settings.least_steps, math.ceil(steps_of_an_epoch * USUAL_EPOCHS))
    return max(1, math.ceil(steps_of_an_epoch * settings.epochs))


def passes(rows: int, settings: TrainingSection) -> float:
    """How often a training goes over `rows` training rows."""
    if settings.steps is None and settings.epochs is not None:
        return settings.epochs
    return optimizer_steps(rows, settings) / math.ceil(max(1, rows) / settings.batch_size)
