"""What sdp knows of each kind of model: one row a `model_type` of config.json. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# How the tokens of a text are numbered:
#   table          one learned or fixed vector a position, `max_position_embeddings` of them
#   after-padding  the same, counted from pad_token_id + 1 on, as fairseq does: the rows before it are never used
#   relative       by distances between tokens or by rotation: any length
Positions = Literal["table", "after-padding", "relative"]


@dataclass(frozen=True)
class Architecture:
    """One kind of model.

    Attributes:
        model_type: as config.json names it.
        positions: how its tokens are numbered.
        padding: `pad_token_id` where config.json names none.
    """

    model_type: str
    positions: Positions = "table"
    padding: int = 1


ARCHITECTURES = (
    Architecture("albert"),
    Architecture("bert"),
    Architecture("big_bird"),
    Architecture("camembert", "after-padding"),
    Architecture("convbert"),
    Architecture("data2vec-text", "after-padding"),
    Architecture("deberta"),
    Architecture("deberta-v2"),
    Architecture("distilbert"),
    Architecture("electra"),
    Architecture("ernie"),
    Architecture("esm", "after-padding"),
    Architecture("eurobert", "relative"),
    Architecture("flaubert"),
    Architecture("fnet"),
    Architecture("funnel", "relative"),
    Architecture("gte", "relative"),
    Architecture("ibert", "after-padding"),
    Architecture("jina_embeddings_v3", "relative"),
    Architecture("layoutlm"),
    Architecture("longformer", "after-padding"),
    Architecture("luke", "after-padding"),
    Architecture("megatron-bert"),
    Architecture("mobilebert"),
    Architecture("modernbert", "relative"),
    Architecture("mpnet", "after-padding"),
    Architecture("nomic_bert", "relative"),
    Architecture("nystromformer"),
    Architecture("rembert"),
    Architecture("roberta", "after-padding"),
    Architecture("roberta-prelayernorm", "after-padding"),
    Architecture("roc_bert"),
    Architecture("roformer"),
    Architecture("squeezebert"),
    Architecture("xlm"),
    Architecture("xlm-roberta", "after-padding"),
    Architecture("xlm-roberta-xl", "after-padding"),
    Architecture("xlnet", "relative"),
    Architecture("xmod", "after-padding"),
    Architecture("yoso"),
)
_BY_TYPE = {row.model_type: row for row in ARCHITECTURES}


def find_architecture(model_type: object) -> Architecture | None:
    """The row of a kind of model; None for one that the table does not have."""
    return _BY_TYPE.get(model_type) if isinstance(model_type, str) else None
