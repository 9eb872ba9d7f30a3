"""The candidates of a tuning: precision, pattern, sparsity and layers, and what a trial of one of them is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from sdp.check.forecast import product
from sdp.recipe.criteria import CRITERIA
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe

Precision = Literal["fp32", "int8"]
Zeros = Literal["unstructured", "1x4", "structured"]
Pattern = Zeros | Literal["layers", "layers-1x4"]

SPARSITIES: dict[Zeros, tuple[float, ...]] = {
    "1x4": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    "unstructured": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95),
    "structured": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
}
"""What may be zero, or removed. What is removed makes the network faster from the first head on, and costs more."""
FAMILIES: tuple[tuple[Precision, Pattern], ...] = (
    ("int8", "1x4"),
    ("int8", "layers"),
    ("int8", "layers-1x4"),
    ("int8", "structured"),
    ("fp32", "unstructured"),
    ("fp32", "structured"),
)
"""Precision and pattern that go together, the family that is fast first. int8 kernels take blocks of four at once; fp32
kernels multiply each weight by itself, so that blocks in fp32 would lose more and be no faster. Fewer layers are tried
in int8 alone, which loses hardly anything, dense and with zeros."""
WITH_FEWER_LAYERS = (0.7, 0.8, 0.9)
"""The sparsities of the layers that are kept."""
CHOSEN_KEYS = ("prune.sparsity", "prune.pattern", "prune.layers", "export.precision")
_MOST_LAYER_STEPS = 6


@dataclass(frozen=True)
class Candidate:
    """A kind of model: its precision, and how many of its weights are zeros or removed, in which pattern; 0 is dense.

    Attributes:
        precision: of the file.
        pattern: what is zero or removed.
        sparsity: share of the encoder's weights.
        layers: how many of the first layers are kept, with the patterns "layers" and "layers-1x4".
        layer_sparsity: of the layers that are kept, with the pattern "layers-1x4".
    """

    precision: Precision
    pattern: Pattern
    sparsity: float
    layers: int | None = None
    layer_sparsity: float = 0.0

    @property
    def name(self) -> str:
        """A name that is also a folder's."""
        if not self.sparsity:
            return f"{self.precision}-dense"
        if self.layers is None:
            return f"{self.precision}-{self.pattern}-{_decimals(self.sparsity)}"
        fewer = f"{self.precision}-layers-{self.layers}"
        return f"{fewer}-1x4-{_decimals(self.layer_sparsity)}" if self.layer_sparsity else fewer

    @property
    def removes(self) -> bool:
        """Whether what it leaves is a smaller dense network; zeros need sparse products."""
        return self.pattern in ("structured", "layers")

    @property
    def needs_training(self) -> bool:
        """Whether it is good for nothing untrained: its classifier reads the output of another layer than before."""
        return self.layers is not None

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
        sparsity = own.sparsity if own.layers is None else own.layer_sparsity
        pattern = _PATTERNS_OF_LAYERS.get(own.pattern, own.pattern)
        keys = [
            f"prune.sparsity={sparsity!r}",
            f'prune.pattern="{pattern}"',
            f"prune.steps={self.steps}",
            f'export.precision="{own.precision}"',
            *([] if own.layers is None else [f"prune.layers={own.layers}"]),
        ]
        defaults = {} if self.steps else _defaults(settings, _WITHOUT_TRAINING)
        if not own.sparsity and settings.scope == "allocated":
            # Nothing is to be allocated; it takes time to find that out.
            defaults["scope"] = PruneSection.model_fields["scope"].default
        if own.layers is not None:
            defaults |= _defaults(settings, _not_for_layers(settings, zeros=bool(own.layer_sparsity)))
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
_PATTERNS_OF_LAYERS: dict[Pattern, Zeros] = {"layers": "unstructured", "layers-1x4": "1x4"}
"""The pattern of zeros beside fewer layers; of none any will do."""


def _not_for_layers(settings: PruneSection, *, zeros: bool) -> tuple[str, ...]:
    """The keys that do not go with fewer layers; without zeros all that are about zeros."""
    if not zeros:
        return ("criterion", "scope", "repair", *_CRITERIA_KEYS)
    return ("scope", "repair") if settings.scope == "allocated" else ("repair",)


def _defaults(settings: PruneSection, names: Sequence[str]) -> dict[str, object]:
    """The defaults of keys that a trial may not set, where the recipe sets them."""
    found = {name: PruneSection.model_fields[name].default for name in names}
    return {name: value for name, value in found.items() if getattr(settings, name) != value}


def _toml(value: object) -> str:
    return json.dumps(value)


def pruned_candidates(recipe: Recipe, *, units: bool, layers: int | None) -> tuple[Candidate, ...]:
    """The candidates that are worth pruning for, family by family in rising order of sparsity.

    Left out are those whose zeros no product skips, by the rules that the exporter goes by: they would lose something
    and be no faster.

    Args:
        recipe: limits how much of a matrix may be pruned.
        units: whether heads or neurons of the model can be removed.
        layers: of the model; None where unknown.
    """
    most = recipe.prune.max_layer_sparsity or 1.0
    found: list[Candidate] = []
    for precision, pattern in FAMILIES:
        if pattern == "layers":
            found += _fewer_layers(recipe.prune, precision, pattern, layers or 0, (0.0,))
            continue
        if pattern == "layers-1x4":
            sparsities = [own for own in WITH_FEWER_LAYERS if own <= most]
            found += _fewer_layers(recipe.prune, precision, pattern, layers or 0, sparsities)
            continue
        export = recipe.export.model_copy(update={"precision": precision})
        for sparsity in SPARSITIES[pattern]:
            prune = recipe.prune.model_copy(update={"pattern": pattern, "sparsity": sparsity})
            kind = product(prune, export, 1 - sparsity, library=True)
            skipped = kind in ("sparse", "sparse-int8") and sparsity <= most
            if skipped if pattern != "structured" else units:
                found.append(Candidate(precision, pattern, sparsity))
    return tuple(found)


def _fewer_layers(
    settings: PruneSection, precision: Precision, pattern: Pattern, total: int, zeros: Sequence[float]
) -> list[Candidate]:
    """The first layers, in at most so many steps, with so many zeros in them; what recipes may not have is left out."""
    step = -(-total // _MOST_LAYER_STEPS) or 1
    kept = range(total - step, 0, -step)
    found = [
        Candidate(precision, pattern, 1 - (1 - own) * count / total, count, own)
        for count in kept
        for own in zeros
        if _fits(settings, count, own)
    ]
    return sorted(found, key=lambda own: own.sparsity)


def _fits(settings: PruneSection, layers: int, zeros: float) -> bool:
    others = set(_not_for_layers(settings, zeros=bool(zeros)))
    own = settings.model_dump(exclude_unset=True, exclude=others) | {"layers": layers, "sparsity": zeros}
    try:
        PruneSection.model_validate(own | {"pattern": "1x4" if zeros else "unstructured"})
    except ValidationError:
        return False
    return True


def _decimals(share: float) -> str:
    """Two decimals, or as many as it needs."""
    short = f"{share:.2f}"
    return short if float(short) == share else repr(share)


def ladder(full: int) -> tuple[int, ...]:
    """The steps that a candidate may be pruned in, in rising order: none, a quarter, and all.

    Successive halving (arXiv 1603.06393) with a factor of 4: what looks bad after a quarter is not trained to the end.

    Args:
        full: steps of the recipe.
    """
    return tuple(sorted({0, -(-full // 4), full}))
