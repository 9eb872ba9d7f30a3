"""A network for extractive question answering whose outputs are one tensor of logits, as all else that runs one reads.

transformers' classes return the logits of the start and of the end of an answer apart; here they are two columns. The
weights and their names are transformers' own, and so is the name of the class in a saved config.json.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput

from sdp.compat.transformers import class_of
from sdp.models.forward import forward_like

OUTPUTS = ("start", "end")
"""The names of the outputs for a token."""
_MARK = "answers_questions"


def is_answerer(model: PreTrainedModel) -> bool:
    """Whether a network answers questions."""
    return hasattr(type(model), _MARK)


def answerer_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of the network for an architecture.

    Raises:
        KeyError: transformers has none for it.
    """
    return _class_of(class_of(AutoModelForQuestionAnswering, config))


_made: dict[type[PreTrainedModel], type[PreTrainedModel]] = {}


def _class_of(whole: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Make the class, once a process: networks of the same structure have the same class."""
    if whole in _made:
        return _made[whole]

    def logits(self: Any, output_hidden_states: bool | None, **inputs: Tensor) -> TokenClassifierOutput:
        found = whole.forward(self, **inputs, output_hidden_states=output_hidden_states, return_dict=True)
        both = torch.stack([found.start_logits, found.end_logits], dim=-1)
        return TokenClassifierOutput(logits=both, hidden_states=found.get("hidden_states"))

    forward = forward_like(whole, logits)
    _made[whole] = type(whole.__name__, (whole,), {"forward": forward, "__module__": __name__, _MARK: True})
    return _made[whole]
