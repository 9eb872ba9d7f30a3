"""Outputs of both networks that losses read, from their rows and settings alone. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sdp.errors import ModelError
from sdp.losses.network_output import RowsKey
from sdp.recipe.benchmark_tasks import ProblemType, has_token_logits
from sdp.recipe.losses import LossSettings, RowsLoss

Layers = tuple[int, ...] | Literal["all"]


@dataclass(frozen=True)
class Needs:
    """What some losses read: logits, rows of features, prunable weights."""

    logits: bool = False
    rows: tuple[RowsKey, ...] = ()
    weights: bool = False

    @property
    def teacher(self) -> bool:
        """Whether there must be a teacher."""
        return self.teacher_forward or self.weights

    @property
    def teacher_forward(self) -> bool:
        """Whether the teacher must see the data; its weights alone need no forward pass."""
        return self.logits or bool(self.rows)

    def token_outputs(self, problem_type: ProblemType) -> int:
        """How many outputs of each token they read of the teacher."""
        tokens = sum(key.kind == "tokens" for key in self.rows)
        return tokens + (self.logits and has_token_logits(problem_type))


# Outputs of every token are stored in half precision.
_TOKEN_BYTES = 2


def token_bytes(token_outputs: int, tokens: float, features: int) -> float:
    """Bytes of so many outputs, of so many features each, of every token."""
    return token_outputs * tokens * features * _TOKEN_BYTES


def live_teacher(token_outputs: int, tokens: float, features: int, cache_gb: float) -> bool:
    """Whether the teacher must run beside the student, because what it gives for every token is too much to be stored.

    Args:
        token_outputs: how many outputs of a token are read (`Needs.token_outputs`).
        tokens: of all training rows.
        features: width of the encoder.
        cache_gb: largest size of all that is stored (`runtime.teacher_cache_gb`).
    """
    return token_bytes(token_outputs, tokens, features) > cache_gb * 1e9


def needs_of(losses: Sequence[LossSettings], layers: int) -> Needs:
    """What losses read together, rows that several read once.

    Args:
        losses: as the recipe lists them.
        layers: how many layers the model has.
    """
    reads = [loss.reads for loss in losses]
    rows = (key for loss in losses if loss.reads == "rows" for key in row_keys(loss, layers))
    return Needs("logits" in reads, tuple(dict.fromkeys(rows)), "weights" in reads)


def row_keys(loss: LossSettings, layers: int) -> tuple[RowsKey, ...]:
    """The rows that a loss compares, one key a layer.

    Raises:
        TypeError: the loss reads rows, and its settings do not choose any.
    """
    if not isinstance(loss, RowsLoss):
        raise TypeError(f"the settings of a loss that reads rows are a RowsLoss, not {type(loss).__name__}")
    if loss.rows == "pooled":
        return (RowsKey("pooled"),)
    return tuple(RowsKey(loss.rows, layer) for layer in layer_indices(loss.layers, layers))


def layer_indices(layers: Layers, count: int) -> tuple[int, ...]:
    """Layers as indices of hidden states: "all" is 1 to the last, negative ones count from the end; each once.

    Args:
        layers: 0 for the embeddings' output, 1 for the first layer, -1 for the last.
        count: how many layers the model has.
    """
    chosen = range(1, count + 1) if layers == "all" else layers
    return tuple(dict.fromkeys(_index(layer, count) for layer in chosen))


def _index(layer: int, count: int) -> int:
    """A layer as an index of hidden states: a negative number counts from the end."""
    return layer if layer >= 0 else count + 1 + layer


def matching_rows(losses: Sequence[LossSettings], own: int, others: int) -> dict[RowsKey, RowsKey]:
    """The rows that losses compare, and where another network has them that may have more layers or fewer.

    A negative number of a layer counts from the end of each network, another one from its start.

    Args:
        losses: as the recipe lists them.
        own: how many layers the network has.
        others: how many layers the other one has.

    Returns:
        rows of the network -> rows of the other.

    Raises:
        ValueError: a layer has no counterpart, or two; the message names the loss.
    """
    found: dict[RowsKey, RowsKey] = {}
    for loss in losses:
        for key, other in _pairs(loss, own, others):
            if found.setdefault(key, other) != other:
                raise ValueError(f"the loss {loss.name} compares layer {key.layer} with another one than a loss before")
    return found


def _pairs(loss: LossSettings, own: int, others: int) -> Iterator[tuple[RowsKey, RowsKey]]:
    if not isinstance(loss, RowsLoss):
        return
    if loss.rows == "pooled":
        yield RowsKey("pooled"), RowsKey("pooled")
        return
    if loss.layers == "all" and own != others:
        raise ValueError(f"the loss {loss.name} compares all layers, {own} here and {others} there")
    for layer in range(1, own + 1) if loss.layers == "all" else loss.layers:
        if not -others <= layer <= others:
            raise ValueError(f"the loss {loss.name} asks for layer {layer}, and there are {others}")
        yield RowsKey(loss.rows, _index(layer, own)), RowsKey(loss.rows, _index(layer, others))


def named_layers(loss: LossSettings) -> tuple[int, ...]:
    """The layers that a loss names; none for "all", or for a loss that has no choice of layers."""
    layers: Layers = getattr(loss, "layers", "all")
    return () if layers == "all" else layers


def resolve_layers(loss: LossSettings, count: int) -> LossSettings:
    """The settings of a loss with its layers, where it has any, as indices of hidden states.

    Args:
        loss: its settings.
        count: how many layers the model has.

    Raises:
        ModelError: the model has no such layer.
    """
    layers: Layers | None = getattr(loss, "layers", None)
    if layers is None:
        return loss
    wrong = [layer for layer in named_layers(loss) if not -count <= layer <= count]
    if wrong:
        raise ModelError(
            f"the model has {count} layers, and the loss {loss.name} asks for layer {', '.join(map(str, wrong))}",
            where="prune.losses",
            hint=f"Give layers from 1 to {count}, from -{count} to -1, or 0 for the embeddings' output.",
        )
    return loss.model_copy(update={"layers": layer_indices(layers, count)})
