"""Optimizer steps of a training section: arithmetic shared by the plan and the training itself."""

from __future__ import annotations

import math

from sdp.recipe.base import TrainingSection


def optimizer_steps(rows: int, settings: TrainingSection) -> int:
    """Number of optimizer steps for `rows` training rows, whatever the devices; a last, smaller batch counts as one.

    Of 0 epochs there are none, of any more at least one.
    """
    if settings.epochs == 0:
        return 0
    return max(1, math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs))
