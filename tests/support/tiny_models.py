"""Tiny random models of every kind that sdp has a row for, at the smallest sizes that their configurations allow."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
}
_XLM: dict[str, Any] = {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "n_langs": 1, "pad_index": 1, "unk_index": 0}
_RELATIVE: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
_TWO_PARTS: dict[str, Any] = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 24,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 1,
    **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
    **{f"{part}_ffn_dim": 24 for part in ("encoder", "decoder")},
    **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
}
_GPT: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}
# What a kind calls its sizes, or needs beside them.
SETTINGS: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 8},
    "convbert": {"embedding_size": 8},
    "deberta": _RELATIVE,
    "deberta-v2": {
        **_RELATIVE,
        "share_att_key": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
    },
    "distilbert": {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2},
    "electra": {"embedding_size": 8},
    "esm": {"position_embedding_type": "rotary", "mask_token_id": 4},
    "flaubert": _XLM,
    "gpt2": _GPT,
    "longformer": {"attention_window": [4, 4]},
    "luke": {"entity_vocab_size": 5, "entity_emb_size": 8},
    "mobilebert": {"embedding_size": 8, "intra_bottleneck_size": 8, "true_hidden_size": 8},
    "modernbert": {"local_attention": 8},
    "nystromformer": {"num_landmarks": 5, "segment_means_seq_len": 40},
    "openai-gpt": _GPT,
    "rembert": {"input_embedding_size": 8, "output_embedding_size": 8},
    "roformer": {"embedding_size": 8},
    "squeezebert": {"embedding_size": 16},
    "xlm": _XLM,
    "xmod": {"languages": ["en_XX", "de_DE"], "default_language": "en_XX"},
    **dict.fromkeys(("bart", "mbart", "t5", "mt5", "umt5", "bigbird_pegasus"), _TWO_PARTS),
}
# Sizes that a kind refuses to have.
_WITHOUT = {"funnel": ("num_hidden_layers", "max_position_embeddings"), "xlnet": ("max_position_embeddings",)}
_INSTEAD: dict[str, dict[str, Any]] = {
    "funnel": {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24, "block_sizes": [1, 1]},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
}


def tiny_config(kind: str, **settings: Any) -> PreTrainedConfig:
    """The configuration of a tiny model of a kind (`model_type`)."""
    sizes = {name: value for name, value in SIZES.items() if name not in _WITHOUT.get(kind, ())}
    config: PreTrainedConfig = CONFIG_MAPPING[kind](
        **{**sizes, **SETTINGS.get(kind, {}), **_INSTEAD.get(kind, {}), **settings}
    )
    return config


def tiny_model(kind: str, *, tagger: bool = False, sparsity: float = 0.0, seed: int = 0, **settings: Any) -> Any:
    """A classifier (or tagger) with weights at random, a share of those in its layers zero, in evaluation mode.

    transformers' own first weights are so small that a wrong file could give nearly the same logits.
    """
    auto = AutoModelForTokenClassification if tagger else AutoModelForSequenceClassification
    torch.manual_seed(seed)
    model: PreTrainedModel = auto.from_config(tiny_config(kind, **{"num_labels": 3, **settings}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if parameter.dim() == 2 and "embed" not in name:
                parameter.mul_(torch.rand(parameter.shape, generator=generator) >= sparsity)
            elif "norm" in name.lower() and name.endswith("weight"):
                parameter.add_(1.0)
    return model.eval()
