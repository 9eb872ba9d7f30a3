"""Each kind of model: every matrix of its layers is found, by torch and in files alike, or it is refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForMaskedLM

from sdp.errors import ModelError
from sdp.models.architectures import ARCHITECTURES, Architecture, find_architecture, require_architecture
from sdp.models.head import read_head
from sdp.models.layers import layer_classes, layer_count, prunable_weights
from sdp.models.load import load_finetuned, load_pretrained
from sdp.models.parts import count_parts, encoder_shape, tensor_shapes
from sdp.models.source import ModelFolder
from support.tiny_models import tiny_config, tiny_model

SUPPORTED = [row.model_type for row in ARCHITECTURES if not row.refused]
REFUSED = [row.model_type for row in ARCHITECTURES if row.refused]
# Kinds whose tiny models are large, or that need packages of their own.
UNBUILT = {"canine", "layoutlmv2", "layoutlmv3", "lilt", "markuplm", "tapas"}
# Their files hold several matrices of torch's as one, under another name.
FUSED = {"gte", "jina_embeddings_v3", "nomic_bert"}
CPU = torch.device("cpu")
ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())


@pytest.mark.parametrize("kind", SUPPORTED)
def test_all_linear_weights_of_the_layers_are_found(kind: str, tmp_path: Path) -> None:
    model = tiny_model(kind)
    found = prunable_weights(model)
    # By what they do and not by their names: all matrices that multiply, but of head, pooler, and embeddings.
    linear = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(f"{model.base_model_prefix}.")
    }
    outside = {name for name in linear if any(part in name for part in ("embed", "pooler", "contact_head"))}
    assert found.keys() == linear - outside
    assert len(outside) <= 2
    model.save_pretrained(tmp_path)
    sizes, counted = {name: w.numel() for name, w in found.items()}, count_parts(ModelFolder(kind, tmp_path)).prunable
    assert sum(counted.values()) == sum(sizes.values())
    assert counted == sizes or kind in FUSED


@pytest.mark.parametrize("row", [row for row in ARCHITECTURES if not row.refused], ids=lambda row: row.model_type)
def test_each_linear_weight_is_in_a_list_of_the_row_and_has_one_role(row: Architecture) -> None:
    lists = re.compile(rf"\.({'|'.join(row.layout.lists)})\.\d+\.(?P<module>.+)\.weight")
    roles: dict[str, set[str]] = {}
    for name in prunable_weights(tiny_model(row.model_type)):
        found = lists.search(name)
        assert found, name
        for role, endings in row.layout.roles.items():
            for ending in endings:
                if re.search(rf"\b{ending}$", found["module"]):
                    roles.setdefault(name, set()).add(role)
        # "attention.output.dense" also ends as the feed-forward output of BERT.
        assert len(roles[name]) == 1 or roles[name] == {"attention output", "feed-forward output"}, name
    assert set().union(*roles.values()) == row.layout.roles.keys()


@pytest.mark.parametrize("row", [row for row in ARCHITECTURES if not row.refused], ids=lambda row: row.model_type)
def test_each_row_knows_its_heads_tables_and_sizes(row: Architecture, tmp_path: Path) -> None:
    folder = ModelFolder(row.model_type, tmp_path)
    model = tiny_model(row.model_type)
    for trained in (model, tiny_model(row.model_type, tagger=True)):
        trained.save_pretrained(tmp_path)
        head = read_head(folder)
        assert head is not None
        assert head.outputs == 3
        assert len(set(row.layout.outputs) & tensor_shapes(folder).keys()) == 1
    assert encoder_shape(folder) == (16, layer_count(model)) == (16, 2)
    table = next(name for name, module in model.named_modules() if module is model.get_input_embeddings())
    known = table.rpartition(".")[2]
    assert known in row.layout.input_embeddings or (known, row.layout.input_embeddings) == ("embeddings", ())
    pretrained = AutoModelForMaskedLM.from_config(tiny_config(row.model_type))
    outside = [name for name in pretrained.state_dict() if not name.startswith(f"{model.base_model_prefix}.")]
    # ModernBERT's classifier has the dense layer and the norm of this head as well.
    kept = ("head.", "decoder.") if row.model_type == "modernbert" else ()
    assert [name for name in outside if not name.startswith((*row.layout.pretraining_heads, *kept))] == []


def test_what_went_through_the_whole_pipeline_is_what_the_results_have() -> None:
    table = (ROOT / "benchmarks" / "results" / "architectures.md").read_text(encoding="utf-8")
    kinds = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert sorted(kinds) == [row.model_type for row in ARCHITECTURES if row.tested]


@pytest.mark.parametrize("kind", sorted({*REFUSED} - UNBUILT))
def test_what_is_refused_by_name_would_not_be_pruned_whole(kind: str, tmp_path: Path) -> None:
    model = tiny_model(kind)
    model.config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"sdp does not prune {kind} models: .+") as caught:
        require_architecture(ModelFolder(kind, tmp_path))
    assert caught.value.where == str(tmp_path / "config.json")
    assert "xlm-roberta" in caught.value.hint


def test_the_table_is_in_order_and_names_no_kind_twice() -> None:
    kinds = [row.model_type for row in ARCHITECTURES]
    assert kinds == sorted(set(kinds))
    assert find_architecture("bert") is ARCHITECTURES[kinds.index("bert")]
    assert find_architecture("of-its-own") is find_architecture(None) is None


@pytest.mark.parametrize("content", [{}, {"model_type": "of-its-own"}, {"model_type": 3}, {"is_encoder_decoder": 0}])
def test_an_unknown_kind_is_not_refused_by_name(content: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content))
    require_architecture(ModelFolder("m", tmp_path))


def test_an_unknown_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "of-its-own", "is_encoder_decoder": true}')
    with pytest.raises(ModelError, match="of-its-own models: it is an encoder with a decoder"):
        require_architecture(ModelFolder("m", tmp_path))


@pytest.mark.parametrize(
    ("kind", "missed"),
    [
        ("gpt2", "h.0.attn.c_attn.weight"),
        ("convbert", "encoder.layer.0.attention.self.key_conv_attn_layer.bias"),
        ("xlnet", "mask_emb"),
        ("squeezebert", "encoder.layers.0.attention.query.weight"),
    ],
)
def test_what_no_row_names_is_refused_with_an_example(kind: str, missed: str, tmp_path: Path) -> None:
    model = tiny_model(kind)
    with pytest.raises(ModelError, match=f"cannot prune {kind} models") as caught:
        prunable_weights(model)
    assert missed in caught.value.what
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"cannot (be loaded|prune {kind} models)"):
        load_pretrained(ModelFolder("m", tmp_path), "classification", ("a", "b", "c"), CPU)


def test_convolutions_in_the_layers_are_refused_by_the_file_alone(tmp_path: Path) -> None:
    tiny_model("squeezebert").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is no linear weight, but has 3 dimensions"):
        count_parts(ModelFolder("m", tmp_path))


def test_shared_layers_count_once_and_lists_apart_have_two_classes() -> None:
    assert len(prunable_weights(tiny_model("albert", num_hidden_layers=4))) == 6
    assert layer_classes(tiny_model("albert")) == ["AlbertLayerGroup"]
    assert layer_classes(tiny_model("flaubert")) == ["MultiHeadAttention", "TransformerFFN"]


NOT_LOGITS = {
    "return_dict": False,
    "output_attentions": True,
    "output_hidden_states": True,
    "use_cache": True,
    "chunk_size_feed_forward": 8,
}


@pytest.mark.parametrize("kind", ["bert", "big_bird"])
def test_a_model_returns_logits_alone_whatever_its_config_asks_for(kind: str, tmp_path: Path) -> None:
    tiny_model(kind).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | NOT_LOGITS | {"attention_type": "block_sparse"}))
    loaded = load_pretrained(ModelFolder("m", tmp_path), "classification", ("a", "b", "c"), CPU)
    loaded.save_pretrained(tmp_path / "saved")
    for model in (loaded, load_finetuned(tmp_path), load_finetuned(tmp_path / "saved")):
        output = model.eval()(torch.arange(5, 16)[None])
        assert list(output) == ["logits"]
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert [name for name, value in NOT_LOGITS.items() if saved.get(name, not value) == value] == []
    assert saved.get("attention_type", "original_full") == ("original_full" if kind == "big_bird" else "block_sparse")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("mpnet", "encoder.relative_attention_bias.weight"),
        ("modernbert", "final_norm.weight"),
        ("xlm", "ffns.1.lin2.bias"),
    ],
)
def test_an_encoder_weight_that_is_missing_is_refused_wherever_it_is(kind: str, name: str, tmp_path: Path) -> None:
    encoder = tiny_model(kind).base_model
    encoder.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors[name]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"1 are missing or of another shape, such as .*{re.escape(name)}"):
        load_pretrained(ModelFolder("m", tmp_path), "classification", ("a", "b"), CPU)
