"""The criteria of `prune.criterion`: one row each, with what it needs. Needs no torch.

`pruning.criteria` binds each name to its class. The first row is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CriterionRow:
    """One criterion.

    Attributes:
        name: as a recipe names it.
        summary: which weights stay, for the reference.
        needs_gradients: it watches the gradients of every step; otherwise it needs the weights at a mask update alone.
        remembers_pruned: its scores of pruned weights live on in training; a finished pruning does not keep them.
        holds_weights: in training, it computes the network's weights from others that it holds aside.
        needs_paired_layers: it reads six matrices of a layer together (`Architecture.lookahead`).
        like_within_layer: the criterion that ranks the same within a layer; it makes sense for scope = "global" alone.
        settings: keys of [prune] that belong to it alone, each with the value for a quick trial; None leaves the
            recipe's.
        copies: the key with the number of copies of the pruned weights that it keeps in memory.
    """

    name: str
    summary: str
    needs_gradients: bool = False
    remembers_pruned: bool = False
    holds_weights: bool = False
    needs_paired_layers: bool = False
    like_within_layer: str = ""
    settings: Mapping[str, int | None] = field(default_factory=dict)
    copies: str = ""

    @property
    def shardable(self) -> bool:
        """Whether it works where each process has a part of all: weights are gathered for scores, gradients are not."""
        return not self.needs_gradients


_ROWS = (
    CriterionRow("magnitude", "the largest weights; start with it"),
    CriterionRow("random", "weights drawn at random, for comparison"),
    CriterionRow("gradient", "weights whose gradients |g| are large", needs_gradients=True),
    CriterionRow("taylor", "weights whose |w g| is large, the first-order change of the loss", needs_gradients=True),
    CriterionRow(
        "momentum",
        "as taylor, of the last ten steps: what matters to the network as it is now",
        needs_gradients=True,
    ),
    CriterionRow(
        "lamp",
        'magnitude that finds the shares of the layers, for scope = "global"; as cheap as magnitude',
        like_within_layer="magnitude",
    ),
    CriterionRow(
        "lookahead",
        "magnitude times the magnitude of neighbouring matrices; as cheap as magnitude",
        needs_paired_layers=True,
    ),
    CriterionRow(
        "movement",
        "weights that training moves away from zero; pruned weights can come back; for high sparsity and long runs",
        needs_gradients=True,
        remembers_pruned=True,
    ),
    CriterionRow(
        "l0",
        "gates learn how often a weight is needed; pruned weights can come back; for high sparsity and long runs",
        needs_gradients=True,
        remembers_pruned=True,
        holds_weights=True,
        settings={"gate_penalty": None},
    ),
    CriterionRow(
        "obert",
        "weights that cost most to remove by second order, with an update of the others; takes memory and time",
        needs_gradients=True,
        settings={"fisher_gradients": 1},
        copies="fisher_gradients",
    ),
)
CRITERIA = {row.name: row for row in _ROWS}


def criteria_description() -> str:
    """What the reference prints of `prune.criterion`."""
    return f"Which weights stay. {'. '.join(f'{row.name}: {row.summary}' for row in CRITERIA.values())}."
