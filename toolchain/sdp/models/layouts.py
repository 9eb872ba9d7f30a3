"""Layouts: names of the parameters of a model, one layout for each family of architectures. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

# What a linear weight does in its layer. The first six are those that the criterion lookahead pairs.
Role = Literal[
    "query",
    "key",
    "value",
    "attention output",
    "feed-forward input",
    "feed-forward output",
    "query, key and value",
    "relative positions",
    "feed-forward gate",
    "bottleneck",
]
PAIRED_ROLES: tuple[Role, ...] = (
    "query",
    "key",
    "value",
    "attention output",
    "feed-forward input",
    "feed-forward output",
)
Roles = Mapping[Role, tuple[str, ...]]


@dataclass(frozen=True)
class Layout:
    """The names of the parameters of an architecture. The defaults are BERT's.

    Attributes:
        lists: the numbered lists of layers: "layer" as in "encoder.layer.3.output.dense.weight".
        roles: role -> how the paths of its modules in a layer end; every linear weight of a layer has a role.
        tables: parts of names of tables and their projections, which are looked up and not multiplied.
        outside: parts of names of other matrices in the base model that are in no layer.
        input_embeddings: the module with a row for each piece of the vocabulary; empty where trimming is not supported.
        pretraining_heads: how the names of heads of pretraining begin, which a classifier does not load.
        outputs: the last weights of trained heads, [outputs, width].
        not_computed: parts of names of weights that transformers 5 has no place for.
        width: the keys of config.json that hold the width of the encoder.
        depth: the keys that hold the number of its layers.
    """

    lists: tuple[str, ...]
    roles: Roles = field(default_factory=dict)
    tables: tuple[str, ...] = ("embed",)
    outside: tuple[str, ...] = ("pooler",)
    input_embeddings: tuple[str, ...] = ("word_embeddings",)
    pretraining_heads: tuple[str, ...] = ("cls.",)
    outputs: tuple[str, ...] = ("classifier.weight", "qa_outputs.weight")
    not_computed: tuple[str, ...] = ()
    width: tuple[str, ...] = ("hidden_size",)
    depth: tuple[str, ...] = ("num_hidden_layers",)


_TWO_HEADS = ("classifier.out_proj.weight", "classifier.weight")

BERT = Layout(
    lists=("layer",),
    roles={
        "query": ("query",),
        "key": ("key",),
        "value": ("value",),
        "attention output": ("attention.output.dense",),
        "feed-forward input": ("intermediate.dense",),
        "feed-forward output": ("output.dense",),
    },
    # Relative positions (position_embedding_type "relative_key").
    not_computed=(".distance_embedding.",),
)
BERT_TWO_HEADS = replace(BERT, outputs=_TWO_HEADS)
ROBERTA = replace(BERT, pretraining_heads=("lm_head.",), outputs=_TWO_HEADS)
ALBERT = Layout(
    # Groups of layers that share their weights.
    lists=("albert_layer_groups",),
    roles={
        "query": ("query",),
        "key": ("key",),
        "value": ("value",),
        "attention output": ("attention.dense",),
        "feed-forward input": ("ffn",),
        "feed-forward output": ("ffn_output",),
    },
    pretraining_heads=("predictions.", "sop_classifier."),
)
DEBERTA = replace(
    BERT,
    roles={
        "query, key and value": ("in_proj",),
        "relative positions": ("pos_proj", "pos_q_proj"),
        **{role: BERT.roles[role] for role in PAIRED_ROLES[3:]},
    },
    pretraining_heads=("cls.", "lm_predictions.", "mask_predictions."),
)
DEBERTA_V2 = replace(
    DEBERTA, roles={**BERT.roles, "query": ("query_proj",), "key": ("key_proj",), "value": ("value_proj",)}
)
DISTILBERT = Layout(
    lists=("layer",),
    roles={
        "query": ("q_lin",),
        "key": ("k_lin",),
        "value": ("v_lin",),
        "attention output": ("out_lin",),
        "feed-forward input": ("lin1",),
        "feed-forward output": ("lin2",),
    },
    pretraining_heads=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    width=("dim",),
    depth=("n_layers",),
)
ELECTRA = replace(
    BERT_TWO_HEADS, pretraining_heads=("discriminator_predictions.", "generator_predictions.", "generator_lm_head.")
)
ESM = replace(ROBERTA, outside=("pooler", "contact_head"))
_PROJECTIONS: Roles = {
    "query": ("q_proj",),
    "key": ("k_proj",),
    "value": ("v_proj",),
    "attention output": ("o_proj",),
}
GATED = Layout(
    lists=("layers",),
    roles={
        **_PROJECTIONS,
        "feed-forward gate": ("gate_proj",),
        "feed-forward input": ("up_proj",),
        "feed-forward output": ("down_proj",),
    },
    pretraining_heads=("cls.", "lm_head."),
)
EUROBERT = replace(GATED, input_embeddings=("embed_tokens",))
JINA = replace(
    GATED,
    roles={**_PROJECTIONS, "feed-forward input": ("fc1",), "feed-forward output": ("fc2",)},
    outputs=_TWO_HEADS,
)
MOBILEBERT = replace(
    BERT,
    roles={
        **BERT.roles,
        "bottleneck": ("bottleneck.dense", "bottleneck.input.dense", "bottleneck.attention.dense"),
    },
)
MODERNBERT = Layout(
    lists=("layers",),
    roles={
        "query, key and value": ("Wqkv",),
        "attention output": ("attn.Wo",),
        "feed-forward input": ("Wi",),
        "feed-forward output": ("mlp.Wo",),
    },
    input_embeddings=("tok_embeddings",),
    pretraining_heads=(),
)
MPNET = replace(
    ROBERTA,
    roles={
        "query": ("q",),
        "key": ("k",),
        "value": ("v",),
        "attention output": ("o",),
        "feed-forward input": ("intermediate.dense",),
        "feed-forward output": ("output.dense",),
    },
    tables=("embed", "relative_attention_bias"),
)
XLM = replace(
    DISTILBERT,
    # Attention and feed-forward layers are in lists of their own, and so are the norms after them.
    lists=("attentions", "ffns", "layer_norm1", "layer_norm2"),
    input_embeddings=(),
    pretraining_heads=("pred_layer.",),
    outputs=("sequence_summary.summary.weight", "classifier.weight"),
    width=("emb_dim",),
)
# Rejected architectures: enough to recognize relatives without a row.
BART = Layout(
    lists=("layers",),
    roles={
        **_PROJECTIONS,
        "attention output": ("out_proj",),
        "feed-forward input": ("fc1",),
        "feed-forward output": ("fc2",),
    },
    input_embeddings=("embed_tokens",),
    outputs=("classification_head.out_proj.weight",),
)
FUNNEL = Layout(lists=("blocks",), outputs=("classifier.linear_out.weight",))
GPT = Layout(lists=("h",), input_embeddings=("wte",), outputs=("score.weight",))
T5 = Layout(lists=("block",), tables=("embed", "relative_attention_bias"))
XLNET = Layout(lists=("layer",), outputs=("logits_proj.weight", "sequence_summary.summary.weight"))
SQUEEZEBERT = replace(BERT, lists=("layers",))


def join_layouts(layouts: Sequence[Layout]) -> Layout:
    """The names of several layouts in one, each once; of the roles those that are paired."""

    def each(part: Callable[[Layout], tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for layout in layouts for name in part(layout)))

    roles: Roles = {
        role: tuple(dict.fromkeys(ending for layout in layouts for ending in layout.roles.get(role, ())))
        for role in PAIRED_ROLES
    }
    return Layout(
        lists=each(lambda layout: layout.lists),
        roles=roles,
        tables=each(lambda layout: layout.tables),
        outside=each(lambda layout: layout.outside),
        input_embeddings=each(lambda layout: layout.input_embeddings),
        pretraining_heads=each(lambda layout: layout.pretraining_heads),
        # A head of several matrices first: its parts may have the name of another's only one.
        outputs=tuple(sorted(each(lambda layout: layout.outputs), key=lambda name: -name.count("."))),
        not_computed=each(lambda layout: layout.not_computed),
        width=each(lambda layout: layout.width),
        depth=each(lambda layout: layout.depth),
    )
