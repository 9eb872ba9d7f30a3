"""The forward of a network that computes its logits otherwise than the class that transformers has for it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

_TYPES = "token_type_ids"


def forward_like(base: type[PreTrainedModel], compute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a forward that takes token types where another class takes them, and the other usual inputs.

    torch's exporter and `models.inputs` read from its signature what the network takes.

    Args:
        base: the other class.
        compute: of the network, `output_hidden_states` and the inputs by name, each [B, L], makes the output.
    """

    def with_types(
        self: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> Any:
        types = {} if token_type_ids is None else {_TYPES: token_type_ids}
        return compute(self, output_hidden_states, input_ids=input_ids, attention_mask=attention_mask, **types)

    def without_types(
        self: Any, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool | None = None
    ) -> Any:
        return compute(self, output_hidden_states, input_ids=input_ids, attention_mask=attention_mask)

    return with_types if _TYPES in signature(base.forward).parameters else without_types
