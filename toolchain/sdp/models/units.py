"""Which rows and columns of an encoder's weights belong to one head or one feed-forward neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sdp.errors import ModelError
from sdp.models.architectures import find_architecture
from sdp.models.layers import prunable_weights
from sdp.models.layouts import Role
from sdp.models.roles import roles_by_layer
from sdp.pipeline.artifacts.kept_units import UnitKind

_QUERIES: tuple[Role, ...] = ("query", "key", "value", "query, key and value")
_HIDDEN: tuple[Role, ...] = ("feed-forward gate", "feed-forward input")
_HINT = 'Set prune.pattern = "1x4" or "unstructured".'


@dataclass(frozen=True)
class Part:
    """A part of an encoder layer of which whole units can be removed: its attention, or its feed-forward layers.

    Attributes:
        layer: the encoder layer, as the names of its parameters begin.
        kind: "heads" or "neurons".
        rows: name of a weight -> the rows that each unit has in it, int64 [units, rows of one].
        output: name of the weight that reads the units.
        columns: the columns that each unit has in it, int64 [units, columns of one].
    """

    layer: str
    kind: UnitKind
    rows: Mapping[str, Tensor]
    output: str
    columns: Tensor

    @property
    def name(self) -> str:
        """The part's name in files and errors."""
        return f"{self.layer}.{self.kind}"

    @property
    def units(self) -> int:
        """Number of units."""
        return len(self.columns)

    def weights_of_a_unit(self, weights: Mapping[str, Tensor]) -> int:
        """Count the linear weights that one unit takes.

        Args:
            weights: as from `prunable_weights`.
        """
        inputs = sum(rows.shape[1] * weights[name].shape[1] for name, rows in self.rows.items())
        return inputs + self.columns.shape[1] * weights[self.output].shape[0]


def find_parts(model: PreTrainedModel) -> tuple[Part, ...]:
    """Find the parts of a model of which units can be removed, in the order of its layers.

    Raises:
        ModelError: sdp does not know how to remove units of this kind of model.
    """
    kind = model.config.model_type
    row = find_architecture(kind)
    if row is None or not row.removable:
        what = f'prune.pattern = "structured" does not know the units of {kind} models'
        raise ModelError(what, where=type(model).__name__, hint=_HINT)
    weights = prunable_weights(model)
    parts: list[Part] = []
    for layer, names in roles_by_layer(weights, row, _HINT).items():
        if "heads" in row.removable and "attention output" in names:
            parts.append(_heads(layer, names, weights, int(model.config.num_attention_heads)))
        if "neurons" in row.removable and "feed-forward output" in names:
            parts.append(_neurons(layer, names, weights))
    return tuple(parts)


def _heads(layer: str, names: Mapping[Role, str], weights: Mapping[str, Tensor], heads: int) -> Part:
    width = weights[names["attention output"]].shape[1]
    return _part(
        layer, "heads", names, _QUERIES, "attention output", weights, torch.arange(width, device="cpu").view(heads, -1)
    )


def _neurons(layer: str, names: Mapping[Role, str], weights: Mapping[str, Tensor]) -> Part:
    width = weights[names["feed-forward output"]].shape[1]
    return _part(
        layer, "neurons", names, _HIDDEN, "feed-forward output", weights, torch.arange(width, device="cpu").view(-1, 1)
    )


def _part(
    layer: str,
    kind: UnitKind,
    names: Mapping[Role, str],
    inputs: Sequence[Role],
    output: Role,
    weights: Mapping[str, Tensor],
    columns: Tensor,
) -> Part:
    width = columns.numel()
    rows = {}
    for name in (names[role] for role in inputs if role in names):
        # Queries, keys and values may stand one after the other in one weight, and so may input and gate.
        starts = range(0, weights[name].shape[0], width)
        rows[name] = torch.cat([columns + start for start in starts], dim=1)
    return Part(layer, kind, rows, names[output], columns)
