"""The table of architectures, one row for each `model_type` of config.json. Needs no torch.

Everything else that depends on the architecture is derived from these rows. Adding a kind adds a row; the tests of
`ARCHITECTURES` then compare it with a tiny model of that kind.

A kind without a row is not rejected: `models.layers` checks that all its matrices can be pruned, and the export that
its file computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sdp.errors import ModelError
from sdp.models import layouts
from sdp.models.layouts import PAIRED_ROLES, Layout, join_layouts
from sdp.models.source import ModelFolder
from sdp.pipeline.files import read_json

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
        layout: where its parameters are.
        positions: how its tokens are numbered.
        counted_if: key and value of config.json without which its positions are relative; None where they never are.
        rotary: queries and keys are rotated by position, so that their rows of one index are not multiplied alone.
        removable: the units that structured pruning removes: "heads", "neurons" (of feed-forward layers).
        packed_attention: the operator library computes its attention; otherwise onnxruntime's operators do.
        written_out: its attention is products and a softmax of its own, which int8 files compute in fp32.
        tested: it went through the whole pipeline (benchmarks/results/architectures.md).
        refused: why sdp does not take it; empty where it does.
        config: values of config.json that it is loaded with, whatever the file has.
    """

    model_type: str
    layout: Layout
    positions: Positions = "table"
    counted_if: tuple[str, object] | None = None
    rotary: bool = False
    removable: tuple[str, ...] = ()
    packed_attention: bool = False
    written_out: bool = False
    tested: bool = False
    refused: str = ""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def lookahead(self) -> bool:
        """Whether its layers consist of the six matrices that the criterion lookahead pairs."""
        return self.layout.roles.keys() == set(PAIRED_ROLES) and len(self.layout.lists) == 1


_BOTH = ("heads", "neurons")
# Heads of theirs have positions of their own, or stand in one module with the residual sum.
_NEURONS = ("neurons",)
_TWO_PARTS = "it is an encoder with a decoder"
_THREE_AXES = "its attention weights are no nn.Linear"
_CONVOLUTIONS = "its layers have convolutions beside the linear weights"
_CONV1D = "its linear weights are Conv1D, which stores them transposed"
_PAGES = "it needs more than text"

ARCHITECTURES = (
    Architecture("albert", layouts.ALBERT, removable=_NEURONS, packed_attention=True, tested=True),
    Architecture("bart", layouts.BART, refused=_TWO_PARTS),
    Architecture("bert", layouts.BERT, removable=_BOTH, packed_attention=True, tested=True),
    # Sparse attention chooses blocks by the length of the text, which a traced graph cannot; the weights are the same.
    Architecture(
        "big_bird",
        layouts.BERT_TWO_HEADS,
        removable=_BOTH,
        config={"attention_type": "original_full"},
        packed_attention=True,
        written_out=True,
    ),
    Architecture("bigbird_pegasus", layouts.BART, refused=_TWO_PARTS),
    Architecture("camembert", layouts.ROBERTA, "after-padding", removable=_BOTH, packed_attention=True, tested=True),
    Architecture("canine", layouts.BERT, refused="it reads characters, through convolutions"),
    Architecture("convbert", layouts.ELECTRA, refused=_CONVOLUTIONS),
    Architecture("data2vec-text", layouts.ROBERTA, "after-padding", removable=_BOTH, packed_attention=True),
    Architecture("deberta", layouts.DEBERTA),
    Architecture(
        "deberta-v2",
        layouts.DEBERTA_V2,
        removable=_BOTH,
        counted_if=("position_biased_input", True),
        packed_attention=True,
        written_out=True,
        tested=True,
    ),
    Architecture("distilbert", layouts.DISTILBERT, removable=_BOTH, packed_attention=True, tested=True),
    Architecture("electra", layouts.ELECTRA, removable=_BOTH, packed_attention=True, tested=True),
    Architecture("ernie", layouts.BERT, removable=_BOTH, packed_attention=True),
    Architecture(
        "esm",
        layouts.ESM,
        "after-padding",
        removable=_BOTH,
        counted_if=("position_embedding_type", "absolute"),
        rotary=True,
    ),
    Architecture(
        "eurobert", layouts.EUROBERT, "relative", removable=_BOTH, packed_attention=True, tested=True, rotary=True
    ),
    Architecture("flaubert", layouts.XLM, removable=_BOTH, tested=True),
    Architecture("funnel", layouts.FUNNEL, "relative", refused=_THREE_AXES),
    Architecture("gpt2", layouts.GPT, refused=_CONV1D),
    Architecture("gte", layouts.GATED, "relative", removable=_BOTH, packed_attention=True, tested=True, rotary=True),
    Architecture("ibert", layouts.ROBERTA, refused="its weights are quantized while it trains"),
    Architecture(
        "jina_embeddings_v3", layouts.JINA, "relative", removable=_BOTH, packed_attention=True, tested=True, rotary=True
    ),
    Architecture("layoutlm", layouts.BERT, removable=_BOTH),
    Architecture("layoutlmv2", layouts.BERT, refused=_PAGES),
    Architecture("layoutlmv3", layouts.BERT_TWO_HEADS, refused=_PAGES),
    Architecture("lilt", layouts.ROBERTA, refused=_PAGES),
    Architecture(
        "longformer",
        layouts.ROBERTA,
        "after-padding",
        refused="its windows depend on the length of a text, which ONNX cannot express",
    ),
    Architecture("luke", layouts.BERT, refused="it has weights that only entities use"),
    Architecture("markuplm", layouts.BERT, refused=_PAGES),
    Architecture("mbart", layouts.BART, refused=_TWO_PARTS),
    Architecture("megatron-bert", layouts.BERT, removable=_BOTH, packed_attention=True, written_out=True),
    Architecture("mobilebert", layouts.MOBILEBERT),
    Architecture(
        "modernbert",
        layouts.MODERNBERT,
        "relative",
        removable=_BOTH,
        packed_attention=True,
        rotary=True,
        tested=True,
    ),
    Architecture(
        "mpnet",
        layouts.MPNET,
        "after-padding",
        removable=_NEURONS,
        packed_attention=True,
        written_out=True,
        tested=True,
    ),
    Architecture("mt5", layouts.T5, refused=_TWO_PARTS),
    Architecture(
        "nomic_bert", layouts.GATED, "relative", removable=_BOTH, packed_attention=True, tested=True, rotary=True
    ),
    Architecture("nystromformer", layouts.BERT_TWO_HEADS, refused=_CONVOLUTIONS),
    Architecture("openai-gpt", layouts.GPT, refused=_CONV1D),
    Architecture("rembert", layouts.BERT, removable=_BOTH, packed_attention=True, written_out=True),
    Architecture("roberta", layouts.ROBERTA, "after-padding", removable=_BOTH, packed_attention=True, tested=True),
    Architecture("roberta-prelayernorm", layouts.ROBERTA, "after-padding", removable=_BOTH, packed_attention=True),
    Architecture("roformer", layouts.BERT_TWO_HEADS, removable=_BOTH, rotary=True),
    Architecture("squeezebert", layouts.SQUEEZEBERT, refused="its layers are convolutions"),
    Architecture("t5", layouts.T5, refused=_TWO_PARTS),
    Architecture("tapas", layouts.BERT, refused=_PAGES),
    Architecture("umt5", layouts.T5, refused=_TWO_PARTS),
    Architecture("xlm", layouts.XLM, removable=_BOTH, tested=True),
    Architecture("xlm-roberta", layouts.ROBERTA, "after-padding", removable=_BOTH, packed_attention=True, tested=True),
    Architecture("xlm-roberta-xl", layouts.ROBERTA, "after-padding", removable=_BOTH, packed_attention=True),
    Architecture("xlnet", layouts.XLNET, "relative", refused=_THREE_AXES),
    Architecture("xmod", layouts.ROBERTA, refused="it has adapters that only one language uses"),
)
_BY_TYPE = {row.model_type: row for row in ARCHITECTURES}
# What any kind calls its parameters. Files are read by these: a checkpoint may be of a kind without a row, or hold the
# names of the code that trained it.
ANY_LAYOUT = join_layouts(tuple(row.layout for row in ARCHITECTURES))


def find_architecture(model_type: object) -> Architecture | None:
    """Return the row of an architecture; None for an unknown one."""
    return _BY_TYPE.get(model_type) if isinstance(model_type, str) else None


def model_type(folder: ModelFolder) -> str | None:
    """Return the architecture in a model's config.json; None without one."""
    named = (read_json(folder.path / "config.json") or {}).get("model_type")
    return named if isinstance(named, str) else None


def supported_types() -> str:
    """Return a sentence on the supported architectures, for hints."""
    return f"Encoders that work: {', '.join(row.model_type for row in ARCHITECTURES if not row.refused)}."


def require_architecture(folder: ModelFolder) -> None:
    """Require that sdp can prune the architecture of a model folder, or does not know it.

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
