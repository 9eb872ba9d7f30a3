"""What a model is made of, read from the headers of its safetensors files: no torch, no weights in memory."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field

from safetensors import SafetensorError, safe_open

from sdp.errors import ModelError
from sdp.models.source import ModelFolder

# Transformer blocks are numbered: "encoder.layer.3.…" (BERT, XLM-R), "layers.3.…", "h.3.…", "transformer.layer.3.…".
_BLOCK = re.compile(r"(^|\.)(layers?|h|blocks?)\.\d+\.")
# Heads of pretraining, which a classifier does not load.
_PRETRAINING_HEADS = (
    *("cls.", "lm_head."),
    *("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),  # DistilBERT
    *("discriminator_predictions.", "generator_predictions.", "generator_lm_head."),  # ELECTRA
)


@dataclass(frozen=True)
class ModelParts:
    """Parameter counts by part; `prunable` holds the size of each linear weight of the encoder layers."""

    embeddings: int
    encoder_other: int
    rest: int
    prunable: dict[str, int] = field(default_factory=dict)

    @property
    def encoder(self) -> int:
        """All parameters of the encoder layers."""
        return self.encoder_other + sum(self.prunable.values())

    @property
    def total(self) -> int:
        """All parameters."""
        return self.embeddings + self.encoder + self.rest


def is_prunable(name: str, dimensions: int) -> bool:
    """Whether a parameter is a linear weight of an encoder layer: what pruning may touch."""
    return dimensions == 2 and name.endswith(".weight") and _BLOCK.search(name) is not None and "embed" not in name


def part_of(name: str) -> str:
    """The part a parameter belongs to: "embeddings", "encoder" or "rest"."""
    if _BLOCK.search(name):
        return "encoder"
    return "embeddings" if "embed" in name else "rest"


def count_parts(folder: ModelFolder) -> ModelParts:
    """Count the parameters of a model folder by part.

    Raises:
        ModelError: a safetensors file is damaged.
    """
    counts = {"embeddings": 0, "encoder": 0, "rest": 0}
    prunable: dict[str, int] = {}
    for path in folder.weight_files:
        try:
            with safe_open(path, framework="np") as weights:
                shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"not a readable safetensors file: {error}", where=str(path)) from None
        for name, shape in shapes.items():
            if name.startswith(_PRETRAINING_HEADS):
                continue
            if is_prunable(name, len(shape)):
                prunable[name] = math.prod(shape)
            elif not name.endswith("position_ids"):
                counts[part_of(name)] += math.prod(shape)
    return ModelParts(counts["embeddings"], counts["encoder"], counts["rest"], prunable)


def encoder_shape(folder: ModelFolder) -> tuple[int | None, int | None]:
    """Width and number of layers of the encoder, from config.json; None where it does not tell."""
    try:
        config = json.loads((folder.path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, None
    found = [
        next((config[key] for key in keys if isinstance(config, dict) and isinstance(config.get(key), int)), None)
        # DistilBERT's names come second.
        for keys in (("hidden_size", "dim"), ("num_hidden_layers", "n_layers"))
    ]
    return found[0], found[1]
