"""The candidates of a tuning: precision, pattern and sparsity, and what a trial of one of them is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sdp.check.forecast import product
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe

Precision = Literal["fp32", "int8"]
Pattern = Literal["unstructured", "1x4", "structured"]

SPARSITIES: dict[Pattern, tuple[float, ...]] = {
    "1x4": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    "unstructured": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    "structured": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
"""What may be zero, or removed. What is removed makes the network faster from the first head on, and costs more."""
FAMILIES: tuple[tuple[Precision, Pattern], ...] = (
    ("int8", "1x4"),
    ("int8", "structured"),
    ("fp32", "unstructured"),
    ("fp32", "structured"),
)
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
        defaults = {} if self.steps else _defaults(settings, _WITHOUT_TRAINING)
        if not own.sparsity and settings.scope == "allocated":
            # Nothing is to be allocated; it takes time to find that out.
            defaults["scope"] = PruneSection.model_fields["scope"].default
        if own.pattern == "structured":
            defaults |= _defaults(settings, (*_NOT_FOR_UNITS, *_CRITERIA_KEYS))
            # A key that is set cannot be taken back.
            defaults |= {"max_layer_sparsity": 1.0} if settings.max_layer_sparsity is not None else {}
        if own.precision != "int8" and settings.quantization_aware:
            defaults["quantization_aware"] = 0.0
        return (*keys, *(f"prune.{key}={_toml(value)}" for key, value in defaults.items()))


_CRITERIA_KEYS = tuple(sorted({key for row in CRITERIA.values() for key in row.settings}))
_WITHOUT_TRAINING = ("criterion", "repair", "quantization_aware", *_CRITERIA_KEYS)
"""The keys that a recipe without training may not set."""
_NOT_FOR_UNITS = ("criterion", "scope", "repair")
"""The keys that heads and neurons have measures of their own for."""


def _defaults(settings: PruneSection, names: Sequence[str]) -> dict[str, object]:
    """The defaults of keys that a trial may not set, where the recipe sets them."""
    found = {name: PruneSection.model_fields[name].default for name in names}
    return {name: value for name, value in found.items() if getattr(settings, name) != value}


def _toml(value: object) -> str:
    return json.dumps(value)


def pruned_candidates(recipe: Recipe, *, units: bool) -> tuple[Candidate, ...]:
    """The candidates that are worth pruning for, family by family in rising order of sparsity.

    Left out are those whose zeros no product skips, by the rules that the exporter goes by: they would lose something
    and be no faster.

    Args:
        recipe: limits how much of a matrix may be pruned.
        units: whether heads or neurons of the model can be removed.
    """
    most = recipe.prune.max_layer_sparsity or 1.0
    found = []
    for precision, pattern in FAMILIES:
        export = recipe.export.model_copy(update={"precision": precision})
        for sparsity in SPARSITIES[pattern]:
            prune = recipe.prune.model_copy(update={"pattern": pattern, "sparsity": sparsity})
            kind = product(prune, export, 1 - sparsity, library=True)
            skipped = kind in ("sparse", "sparse-int8") and sparsity <= most
            if skipped if pattern != "structured" else units:
                found.append(Candidate(precision, pattern, sparsity))
    return tuple(found)


def ladder(full: int) -> tuple[int, ...]:
    """The steps that a candidate may be pruned in, in rising order: none, a quarter, and all.

    Successive halving (arXiv 1603.06393) with a factor of 4: what looks bad after a quarter is not trained to the end.

    Args:
        full: steps of the recipe.
    """
    return tuple(sorted({0, -(-full // 4), full}))
