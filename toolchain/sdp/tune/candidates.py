"""The candidates of a tuning: precision, pattern and sparsity, and what a trial of one of them is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from sdp.check.forecast import product
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe

Precision = Literal["fp32", "int8"]
Pattern = Literal["unstructured", "1x4"]

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
FAMILIES: tuple[tuple[Precision, Pattern], ...] = (("int8", "1x4"), ("fp32", "unstructured"))
"""Precision and pattern that go together, the family that is fast first. int8 kernels take blocks of four at once; fp32
kernels multiply each weight by itself, so that blocks in fp32 would lose more and be no faster."""
CHOSEN_KEYS = ("prune.sparsity", "prune.pattern", "export.precision")


@dataclass(frozen=True)
class Candidate:
    """A kind of model: its precision, and how many of its weights are zeros, in which pattern; 0 is dense."""

    precision: Precision
    pattern: Pattern
    sparsity: float

    @property
    def name(self) -> str:
        """A name that is also a folder's: two decimals of the sparsity, or as many as it needs."""
        if not self.sparsity:
            return f"{self.precision}-dense"
        short = f"{self.sparsity:.2f}"
        return f"{self.precision}-{self.pattern}-{short if float(short) == self.sparsity else repr(self.sparsity)}"

    @property
    def family(self) -> tuple[Precision, Pattern]:
        """Candidates of one family differ in sparsity alone."""
        return self.precision, self.pattern


DENSE_FP32 = Candidate("fp32", "unstructured", 0.0)
"""What all others are measured against: it loses nothing, and is as fast as itself."""
DENSE_INT8 = Candidate("int8", "unstructured", 0.0)


@dataclass(frozen=True)
class Trial:
    """A candidate, pruned in so many optimizer steps; 0: without training."""

    candidate: Candidate
    steps: int

    @property
    def name(self) -> str:
        """A name that is also its folder's."""
        return f"{self.candidate.name}-{self.steps}-steps" if self.candidate.sparsity else self.candidate.name

    def overrides(self, settings: PruneSection) -> tuple[str, ...]:
        """What of the recipe the trial sets.

        Args:
            settings: the recipe's [prune]. What it sets for training alone gets its default in a trial without.
        """
        own = self.candidate
        keys = [
            f"prune.sparsity={own.sparsity!r}",
            f'prune.pattern="{own.pattern}"',
            f"prune.steps={self.steps}",
            f'export.precision="{own.precision}"',
        ]
        defaults = {} if self.steps else _defaults_without_training(settings)
        if not own.sparsity and settings.scope == "allocated":
            # Nothing is to be allocated; it takes time to find that out.
            defaults["scope"] = PruneSection.model_fields["scope"].default
        if own.precision != "int8" and settings.quantization_aware:
            defaults["quantization_aware"] = 0.0
        return (*keys, *(f"prune.{key}={_toml(value)}" for key, value in defaults.items()))


def _defaults_without_training(settings: PruneSection) -> dict[str, object]:
    """The keys that a recipe without training may not set, with their defaults, where the recipe sets them."""
    names = {"criterion", "repair", "quantization_aware", *(key for row in CRITERIA.values() for key in row.settings)}
    found = {name: PruneSection.model_fields[name].default for name in sorted(names)}
    return {name: value for name, value in found.items() if getattr(settings, name) != value}


def _toml(value: object) -> str:
    return json.dumps(value)


def pruned_candidates(recipe: Recipe) -> tuple[Candidate, ...]:
    """The candidates that are worth pruning for, family by family in rising order of sparsity.

    Left out are those whose zeros no product skips, by the rules that the exporter goes by: they would lose something
    and be no faster.

    Args:
        recipe: limits how much of a matrix may be pruned.
    """
    most = recipe.prune.max_layer_sparsity or 1.0
    found = []
    for precision, pattern in FAMILIES:
        export = recipe.export.model_copy(update={"precision": precision})
        for sparsity in (own for own in SPARSITIES if own <= most):
            prune = recipe.prune.model_copy(update={"pattern": pattern, "sparsity": sparsity})
            kind = product(prune, export, 1 - sparsity, library=True)
            if kind in ("sparse", "sparse-int8"):
                found.append(Candidate(precision, pattern, sparsity))
    return tuple(found)


def ladder(full: int) -> tuple[int, ...]:
    """The steps that a candidate may be pruned in, in rising order: none, a quarter, and all.

    Successive halving (arXiv 1603.06393) with a factor of 4: what looks bad after a quarter is not trained to the end.

    Args:
        full: steps of the recipe.
    """
    return tuple(sorted({0, -(-full // 4), full}))
