"""A sentence encoder as one module: a base model, and the pooling of its last layer into one vector for each row.

The vectors are its logits, as all else that runs a network names them. Its config.json states the pooling.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from torch import Tensor
from torch.nn import functional
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from sdp.compat.transformers import class_of
from sdp.losses.representation import represent
from sdp.models.forward import forward_like
from sdp.models.pooling import Pooling

KIND, NORMALIZED, SETTINGS = "sentence_pooling", "sentence_normalized", "sentence_settings"


def is_embedder(config: PreTrainedConfig) -> bool:
    """Whether a saved model is a sentence encoder."""
    return hasattr(config, KIND)


def as_embedder(config: PreTrainedConfig, pooling: Pooling) -> None:
    """Write the pooling into a config, in place."""
    setattr(config, KIND, pooling.kind)
    setattr(config, NORMALIZED, pooling.normalized)
    if pooling.settings:
        setattr(config, SETTINGS, dict(pooling.settings))


def settings_of(config: PreTrainedConfig) -> dict[str, Any]:
    """The settings of sentence-transformers in a config that `as_embedder` wrote."""
    return dict(getattr(config, SETTINGS, {}))


def pooled(hidden: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """Make one vector of the tokens of each row, as sentence-transformers does.

    Args:
        hidden: last layer, [B, L, d].
        attention_mask: [B, L].
        pooling: how.

    Returns:
        [B, d].
    """
    vectors = represent(hidden, attention_mask, "first" if pooling.kind == "cls" else "mean")
    return functional.normalize(vectors, dim=1) if pooling.normalized else vectors


def embedder_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The class of the sentence encoder for an architecture.

    Raises:
        KeyError: transformers has no encoder for it.
    """
    return _class_of(class_of(AutoModel, config))


_made: dict[str, type[PreTrainedModel]] = {}


def _class_of(base: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Make the class, once a process: networks of the same structure have the same class."""
    name = f"{base.__name__.removesuffix('Model')}Embedder"
    if name in _made:
        return _made[name]
    family = next(parent for parent in base.__mro__[1:] if issubclass(parent, PreTrainedModel))
    without_pooler = {"add_pooling_layer": False} if "add_pooling_layer" in signature(base.__init__).parameters else {}

    def init(self: Any, config: PreTrainedConfig) -> None:
        family.__init__(self, config)
        setattr(self, self.base_model_prefix, base(config, **without_pooler))
        self.post_init()

    def vectors(self: Any, output_hidden_states: bool | None, **inputs: Tensor) -> SequenceClassifierOutput:
        found = self.base_model(**inputs, output_hidden_states=output_hidden_states, return_dict=True)
        pooling = Pooling(getattr(self.config, KIND), getattr(self.config, NORMALIZED))
        logits = pooled(found.last_hidden_state, inputs["attention_mask"], pooling)
        return SequenceClassifierOutput(logits=logits, hidden_states=found.get("hidden_states"))

    forward = forward_like(base, vectors)
    _made[name] = type(name, (family,), {"__init__": init, "forward": forward, "__module__": __name__})
    return _made[name]
