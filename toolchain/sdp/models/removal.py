"""Remove units from a network, so that it is smaller and computes what it did without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.models.units import Part

# What attention modules call their sizes.
_HEADS = ("num_attention_heads", "num_heads", "n_heads")
_WIDTHS = ("all_head_size",)


class Constant(nn.Linear):
    """What is left of a part without units: a linear layer without inputs, whose outputs are its bias.

    Args:
        bias: [out].
    """

    def __init__(self, bias: nn.Parameter) -> None:
        # nn.Linear would initialize a weight without elements, and warn.
        nn.Module.__init__(self)
        self.in_features, self.out_features = 0, len(bias)
        self.weight = nn.Parameter(bias.new_zeros(len(bias), 0))
        self.bias = bias

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the bias for each token, [B, L, out], whatever the width of the input [B, L, width] is."""
        return self.bias.expand(*hidden.shape[:-1], -1)


class NoAttention(nn.Module):
    """What is left of an attention module without heads.

    Args:
        output: name and module of its last layer; without it the module's caller has that layer.
    """

    def __init__(self, output: tuple[str, nn.Module] | None = None) -> None:
        super().__init__()
        self._output = "" if output is None else output[0]
        if output is not None:
            self.add_module(*output)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        """Return an output, and no attention weights, as attention modules do."""
        return self.get_submodule(self._output)(hidden_states) if self._output else hidden_states, None


def remove_units(model: PreTrainedModel, parts: Sequence[Part], kept: Mapping[str, Tensor]) -> None:
    """Remove units from a model in place. Its residual width stays.

    Args:
        model: the network; the parts are its.
        parts: from `find_parts`.
        kept: name of a part -> which units are kept, bool [units].
    """
    for part in parts:
        own = kept[part.name].cpu()
        if not bool(own.all()):
            _remove(model, part, own)


def _remove(model: PreTrainedModel, part: Part, kept: Tensor) -> None:
    for name, rows in part.rows.items():
        _keep_rows(_linear(model, name), rows[kept].flatten().sort().values)
    output = _linear(model, part.output)
    columns = part.columns[kept].flatten()
    with torch.no_grad():
        output.weight = nn.Parameter(output.weight[:, columns.to(output.weight.device)].clone())
    output.in_features = len(columns)
    if part.kind == "heads":
        _set_sizes(model, part, int(kept.sum()))
    if not bool(kept.any()):
        _leave_constant(model, part, output)


def _linear(model: PreTrainedModel, name: str) -> nn.Linear:
    module = model.get_submodule(name.removesuffix(".weight"))
    if not isinstance(module, nn.Linear):
        raise TypeError(f"{name} is no weight of an nn.Linear")
    return module


def _keep_rows(layer: nn.Linear, rows: Tensor) -> None:
    rows = rows.to(layer.weight.device)
    with torch.no_grad():
        layer.weight = nn.Parameter(layer.weight[rows].clone())
        if layer.bias is not None:
            layer.bias = nn.Parameter(layer.bias[rows].clone())
    layer.out_features = len(rows)


def _set_sizes(model: PreTrainedModel, part: Part, heads: int) -> None:
    attention = model.get_submodule(_owner(part))
    for name in _HEADS:
        if hasattr(attention, name):
            setattr(attention, name, heads)
    for name in _WIDTHS:
        if hasattr(attention, name):
            setattr(attention, name, heads * part.columns.shape[1])


def _owner(part: Part) -> str:
    """The path of the module that calls the layers with the units' rows."""
    return next(iter(part.rows)).removesuffix(".weight").rpartition(".")[0]


def _leave_constant(model: PreTrainedModel, part: Part, output: nn.Linear) -> None:
    """Put modules in the place of those that would compute with nothing."""
    path = part.output.removesuffix(".weight")
    bias = output.bias if output.bias is not None else nn.Parameter(output.weight.new_zeros(output.out_features))
    attention, last = _owner(part), path.rpartition(".")[2]
    if part.kind == "heads" and path == f"{attention}.{last}":
        model.set_submodule(attention, NoAttention((last, Constant(bias))))
        return
    model.set_submodule(path, Constant(bias))
    if part.kind == "heads":
        model.set_submodule(attention, NoAttention())
