"""The small model of the preflight: its first layers are the model's own, whatever the architecture calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModel

from sdp.errors import ModelError
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.preflight.model import small_model

CPU = torch.device("cpu")
SIZES = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
BY_OTHER_NAMES = {"vocab_size": 30, "emb_dim": 16, "n_heads": 2, "n_layers": 4, "max_position_embeddings": 16}
ARCHITECTURES = {
    "Bert": {**SIZES, "num_hidden_layers": 4},
    "XLMRoberta": {**SIZES, "num_hidden_layers": 4},
    "MPNet": {**SIZES, "num_hidden_layers": 4},
    "Electra": {**SIZES, "num_hidden_layers": 4, "embedding_size": 8},
    "DebertaV2": {**SIZES, "num_hidden_layers": 4, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "ModernBert": {**SIZES, "num_hidden_layers": 4, "pad_token_id": 0},
    "DistilBert": {"vocab_size": 30, "dim": 16, "hidden_dim": 32, "n_heads": 2, "n_layers": 4},
    "XLM": BY_OTHER_NAMES,
    "Flaubert": BY_OTHER_NAMES,
    # One layer for all, which is passed so many times.
    "Albert": {**SIZES, "num_hidden_layers": 4, "embedding_size": 8},
}


def save(folder: Path, name: str, settings: dict, **how: object) -> ModelFolder:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**settings)
    config.architectures = [f"{name}Model"]
    AutoModel.from_config(config).save_pretrained(folder, **how)
    (folder / "tokenizer.json").write_text("{}")
    return ModelFolder("model", folder)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_two_layers_of_four(name: str, tmp_path: Path) -> None:
    source = save(tmp_path / "model", name, ARCHITECTURES[name])
    assert small_model(source, tmp_path / "small", 2, trust_remote_code=False) == 2
    whole, small = (load_file(tmp_path / folder / "model.safetensors") for folder in ("model", "small"))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in small.items())
    assert (len(small) < len(whole)) == (name != "Albert")
    # No weight is missing, and none is left that has no place.
    model = load_pretrained(ModelFolder("small", tmp_path / "small"), "classification", ("a", "b"), CPU)
    assert model.config.num_hidden_layers == 2
    assert (tmp_path / "small/tokenizer.json").is_symlink()


def test_a_model_in_several_files_stays_in_them(tmp_path: Path) -> None:
    source = save(tmp_path / "model", "Bert", ARCHITECTURES["Bert"], max_shard_size="6KB")
    assert len(source.weight_files) > 3
    assert small_model(source, tmp_path / "small", 2, trust_remote_code=False) == 2
    load_pretrained(ModelFolder("small", tmp_path / "small"), "classification", ("a", "b"), CPU)


@pytest.mark.parametrize(("name", "settings"), [("Bert", {**SIZES, "num_hidden_layers": 2}), ("Funnel", {})])
def test_what_cannot_be_cut_stays_whole(name: str, settings: dict, tmp_path: Path) -> None:
    blocks = {"vocab_size": 30, "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1, 1]}
    source = save(tmp_path / "model", name, settings or blocks)
    assert small_model(source, tmp_path / "small", 2, trust_remote_code=False) is None
    assert all((tmp_path / "small" / path.name).is_symlink() for path in source.path.iterdir())


def test_a_damaged_config_is_left_to_whoever_loads_the_model(tmp_path: Path) -> None:
    source = save(tmp_path / "model", "Bert", ARCHITECTURES["Bert"])
    content = json.loads((source.path / "config.json").read_text())
    (source.path / "config.json").write_text(json.dumps(content | {"num_hidden_layers": "four"}))
    assert small_model(source, tmp_path / "small", 2, trust_remote_code=False) is None
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_pretrained(ModelFolder("small", tmp_path / "small"), "classification", ("a", "b"), CPU)
