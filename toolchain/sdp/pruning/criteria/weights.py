"""Criteria that need nothing but the weights: magnitude, random, lamp, lookahead."""

from __future__ import annotations

import torch
from torch import Tensor

from sdp.pruning.criteria.base import Criterion, Scores, Setup, Weights, without_pruned
from sdp.pruning.masks import Masks
from sdp.pruning.scores import lamp_scores, lookahead_scores, magnitude_scores
from sdp.pruning.structure import find_neighbours


class Magnitude(Criterion):
    """Absolute value: |w|. Comparable between layers where they are of like scale."""

    def scores(self, masks: Masks) -> Scores:
        """|w|."""
        return magnitude_scores(self.weights, masks)


class Random(Criterion):
    """Chance: a number in [0, 1) for each weight, fixed by the seed. What any other criterion must beat."""

    def scores(self, masks: Masks) -> Scores:
        """The same numbers at every update and on every device: drawn on the CPU, afresh each time, and not stored."""
        generator = torch.Generator().manual_seed(self.setup.seed)
        drawn = {
            name: torch.rand(weight.shape, generator=generator).to(weight.device)
            for name, weight in self.weights.items()
        }
        return without_pruned(drawn, masks)


class Lamp(Criterion):
    """Layer-adaptive magnitude: w^2 / sum of v^2 over v^2 >= w^2 (arXiv 2010.07611), with one global threshold.

    Made to be comparable between layers; within a layer it ranks as magnitude does, so scope = "layer" has no sense.
    """

    def scores(self, masks: Masks) -> Scores:
        """LAMP of each weight matrix."""
        return without_pruned({name: lamp_scores(weight) for name, weight in self.weights.items()}, masks)


class Lookahead(Criterion):
    """Magnitude with the neighbours': w_ij^2 * |row j before|^2 * |column i after|^2 (arXiv 2002.04809).

    Pairs: value -> attention output, feed-forward input -> output, and query <-> key, whose rows of one index are
    multiplied; a side without a neighbour counts as 1. Scores of matrices with other kinds of neighbours are products
    of other things: not comparable between layers, scope = "layer" fits better than "global".

    Raises:
        ModelError: the matrices of an encoder layer are not recognized.
    """

    def __init__(self, weights: Weights, setup: Setup) -> None:
        super().__init__(weights, setup)
        self._neighbours = find_neighbours(weights, setup.architecture)

    def scores(self, masks: Masks) -> Scores:
        """Lookahead distortion, of the masked weights."""
        scores = {}
        for name, weight in self.weights.items():
            near = self._neighbours[name]
            inputs = self.weights[near.inputs] if near.inputs else None
            outputs: Tensor | None = self.weights[near.outputs] if near.outputs else None
            if near.partner:
                # Its row i, like column i of a matrix that reads output i.
                outputs = self.weights[near.partner].T
            scores[name] = lookahead_scores(weight, inputs, outputs)
        return without_pruned(scores, masks)
