"""Which weights are kept: the class of each criterion of the table in `recipe.criteria`, a literal registry by name."""

from __future__ import annotations

from sdp.pruning.criteria.base import Criterion, Setup
from sdp.pruning.criteria.gradients import Gradient, Momentum, Taylor
from sdp.pruning.criteria.l0 import L0
from sdp.pruning.criteria.movement import Movement
from sdp.pruning.criteria.obert import OBert
from sdp.pruning.criteria.weights import Lamp, Lookahead, Magnitude, Random

__all__ = ["CRITERIA", "Criterion", "Setup"]

CRITERIA: dict[str, type[Criterion]] = {
    "magnitude": Magnitude,
    "random": Random,
    "gradient": Gradient,
    "taylor": Taylor,
    "momentum": Momentum,
    "lamp": Lamp,
    "lookahead": Lookahead,
    "movement": Movement,
    "l0": L0,
    "obert": OBert,
}
