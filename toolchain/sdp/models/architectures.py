"""What sdp knows of each kind of model: one row a `model_type` of config.json. Needs no torch.

A kind without a row is not refused: `pruning.layers` looks whether all its matrices can be pruned, and the export
whether its file computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sdp.errors import ModelError
from sdp.models.source import ModelFolder
from sdp.pipeline.json_file import read_json

# How the tokens of a text are numbered:
#   table          one learned or fixed vector a position, `max_position_embeddings` of them
#   after-padding  the same, counted from pad_token_id + 1 on, as fairseq does: the rows before it are never used
#   relative       by distances between tokens or by rotation: any length
Positions = Literal["table", "after-padding", "relative"]

_TWO_PARTS = "it is an encoder with a decoder"
_THREE_AXES = "its attention weights are no nn.Linear"
_CONVOLUTIONS = "its layers have convolutions beside the linear weights"
_CONV1D = "its linear weights are Conv1D, which stores them transposed"
_PAGES = "it needs more than text"


@dataclass(frozen=True)
class Architecture:
    """One kind of model.

    Attributes:
        model_type: as config.json names it.
        positions: how its tokens are numbered.
        refused: why sdp does not take it; empty where it does.
        config: values of config.json that it is loaded with, whatever the file has.
    """

    model_type: str
    positions: Positions = "table"
    refused: str = ""
    config: dict[str, Any] = field(default_factory=dict)


ARCHITECTURES = (
    Architecture("albert"),
    Architecture("bart", refused=_TWO_PARTS),
    Architecture("bert"),
    # Sparse attention chooses blocks by the length of the text, which a traced graph cannot; the weights are the same.
    Architecture("big_bird", config={"attention_type": "original_full"}),
    Architecture("bigbird_pegasus", refused=_TWO_PARTS),
    Architecture("camembert", "after-padding"),
    Architecture("canine", refused="it reads characters, through convolutions"),
    Architecture("convbert", refused=_CONVOLUTIONS),
    Architecture("data2vec-text", "after-padding"),
    Architecture("deberta"),
    Architecture("deberta-v2"),
    Architecture("distilbert"),
    Architecture("electra"),
    Architecture("ernie"),
    Architecture("esm", "after-padding"),
    Architecture("eurobert", "relative"),
    Architecture("flaubert"),
    Architecture("funnel", "relative", refused=_THREE_AXES),
    Architecture("gpt2", refused=_CONV1D),
    Architecture("gte", "relative"),
    Architecture("ibert", refused="its weights are quantized while it trains"),
    Architecture("jina_embeddings_v3", "relative"),
    Architecture("layoutlm"),
    Architecture("layoutlmv2", refused=_PAGES),
    Architecture("layoutlmv3", refused=_PAGES),
    Architecture("lilt", refused=_PAGES),
    Architecture(
        "longformer", "after-padding", refused="its windows depend on the length of a text, which ONNX cannot express"
    ),
    Architecture("luke", refused="it has weights that only entities use"),
    Architecture("markuplm", refused=_PAGES),
    Architecture("mbart", refused=_TWO_PARTS),
    Architecture("megatron-bert"),
    Architecture("mobilebert"),
    Architecture("modernbert", "relative"),
    Architecture("mpnet", "after-padding"),
    Architecture("mt5", refused=_TWO_PARTS),
    Architecture("nomic_bert", "relative"),
    Architecture("nystromformer", refused=_CONVOLUTIONS),
    Architecture("openai-gpt", refused=_CONV1D),
    Architecture("rembert"),
    Architecture("roberta", "after-padding"),
    Architecture("roberta-prelayernorm", "after-padding"),
    Architecture("roformer"),
    Architecture("squeezebert", refused="its layers are convolutions"),
    Architecture("t5", refused=_TWO_PARTS),
    Architecture("tapas", refused=_PAGES),
    Architecture("umt5", refused=_TWO_PARTS),
    Architecture("xlm"),
    Architecture("xlm-roberta", "after-padding"),
    Architecture("xlm-roberta-xl", "after-padding"),
    Architecture("xlnet", "relative", refused=_THREE_AXES),
    Architecture("xmod", refused="it has adapters that only one language uses"),
)
_BY_TYPE = {row.model_type: row for row in ARCHITECTURES}


def find_architecture(model_type: object) -> Architecture | None:
    """The row of a kind of model; None for one that the table does not have."""
    return _BY_TYPE.get(model_type) if isinstance(model_type, str) else None


def supported_types() -> str:
    """A sentence on the kinds of models that work, for hints."""
    return f"Encoders that work: {', '.join(row.model_type for row in ARCHITECTURES if not row.refused)}."


def require_architecture(folder: ModelFolder) -> None:
    """See that the model of a folder is not of a kind that sdp is known not to prune.

    Raises:
        ModelError: it is.
    """
    path = folder.path / "config.json"
    config = read_json(path) or {}
    kind = config.get("model_type")
    row = find_architecture(kind)
    why = row.refused if row is not None else _TWO_PARTS if config.get("is_encoder_decoder") is True else ""
    if why:
        raise ModelError(f"sdp does not prune {kind} models: {why}", where=str(path), hint=supported_types())
