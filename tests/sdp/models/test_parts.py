"""Parameter counts from file headers, against torch's count of the same model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, DistilBertConfig, DistilBertForMaskedLM, PreTrainedModel

from sdp.errors import ModelError
from sdp.models.parts import ModelParts, count_parts, is_prunable, part_of
from sdp.models.source import ModelFolder
from sdp.models.unmatched_weights import refuse_unused
from support.toy import save_tiny_model

KINDS = ["bert", "xlmr", "distilbert"]


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)


def count(path: Path) -> ModelParts:
    return count_parts(ModelFolder("toy", path))


def size(module: torch.nn.Module | None) -> int:
    return sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0


def test_counts_are_torchs(saved: Path) -> None:
    model: PreTrainedModel = AutoModel.from_pretrained(saved)
    parts = count(saved)
    encoder = next(module for name, module in model.named_children() if name in ("encoder", "transformer"))
    linears = {
        f"{name}.weight": module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith(("encoder.", "transformer."))
    }
    assert parts.embeddings == size(model.embeddings)
    assert parts.encoder == size(encoder)
    assert parts.rest == size(getattr(model, "pooler", None))
    assert parts.prunable == linears
    assert len(linears) == 12
    assert parts.total == size(model)


@pytest.mark.parametrize(
    "head",
    [
        "cls.predictions.transform.dense.weight",
        "lm_head.decoder.weight",
        "discriminator_predictions.dense.weight",
        "generator_predictions.dense.weight",
        "vocab_projector.weight",
        "predictions.dense.weight",
        "sop_classifier.classifier.weight",
        "lm_predictions.lm_head.dense.weight",
        "pred_layer.proj.weight",
    ],
)
def test_heads_of_pretraining_do_not_count(toy_model: Path, tmp_path: Path, head: str) -> None:
    tensors = load_file(toy_model / "model.safetensors")
    save_file({**tensors, head: torch.zeros(7, 5)}, tmp_path / "model.safetensors")
    assert count(tmp_path) == count(toy_model)


def test_a_whole_pretraining_checkpoint(tmp_path: Path) -> None:
    model = DistilBertForMaskedLM(DistilBertConfig(vocab_size=50, dim=16, hidden_dim=32, n_layers=1, n_heads=2))
    model.save_pretrained(tmp_path)
    assert count(tmp_path).total == size(model.distilbert)


def test_a_smaller_vocabulary_takes_rows_of_one_table_away(toy_model: Path) -> None:
    whole = count(toy_model)
    rows, columns = whole.vocabulary or (0, 0)
    small = whole.trimmed(rows - 7)
    assert small.vocabulary == (rows - 7, columns)
    assert (whole.embeddings - small.embeddings, whole.total - small.total) == (7 * columns, 7 * columns)
    assert whole.trimmed(rows + 1) == whole


def test_position_ids_do_not_count(toy_model: Path, tmp_path: Path) -> None:
    tensors = load_file(toy_model / "model.safetensors")
    save_file({**tensors, "embeddings.position_ids": torch.arange(64)[None]}, tmp_path / "model.safetensors")
    assert count(tmp_path) == count(toy_model)


def test_shards_add_up(toy_model: Path, tmp_path: Path) -> None:
    tensors = load_file(toy_model / "model.safetensors")
    names = sorted(tensors)
    files = {name: f"model-{int(place >= 9)}.safetensors" for place, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert count(tmp_path) == count(toy_model)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_damaged_file(toy_model: Path, tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((toy_model / "model.safetensors").read_bytes()[:length])
    with pytest.raises(ModelError, match="not a readable safetensors file") as caught:
        count(tmp_path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("name", "dimensions", "part", "prunable"),
    [
        ("encoder.layer.0.attention.self.query.weight", 2, "encoder", True),
        ("roberta.encoder.layer.11.output.dense.weight", 2, "encoder", True),
        ("transformer.layer.3.ffn.lin1.weight", 2, "encoder", True),
        ("model.layers.3.mlp.Wo.weight", 2, "encoder", True),
        ("encoder.layer.0.attention.self.query.bias", 1, "encoder", False),
        ("encoder.layer.0.output.LayerNorm.weight", 1, "encoder", False),
        ("embeddings.word_embeddings.weight", 2, "embeddings", False),
        ("embeddings.LayerNorm.weight", 1, "embeddings", False),
        ("embeddings_project.weight", 2, "embeddings", False),
        ("encoder.relative_attention_bias.weight", 2, "rest", False),
        ("pooler.dense.weight", 2, "rest", False),
        ("classifier.out_proj.weight", 2, "rest", False),
        ("multilayer.0.weight", 2, "rest", False),
        ("transformer.attentions.3.q_lin.weight", 2, "encoder", True),
        ("transformer.ffns.3.lin1.weight", 2, "encoder", True),
        ("transformer.layer_norm1.3.weight", 1, "encoder", False),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", 2, "encoder", True),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 2, "encoder", False),
    ],
)
def test_names(name: str, dimensions: int, part: str, prunable: bool) -> None:
    assert part_of(name) == part
    assert is_prunable(name, dimensions) is prunable


@pytest.mark.parametrize(
    "name",
    ["encoder.layer.1.attention.self.distance_embedding.weight", "bert.encoder.layer.2.attention.self.query.weight"],
)
def test_weights_that_no_model_has_a_place_for(toy_model: Path, tmp_path: Path, name: str) -> None:
    """`sdp check` finds them by their names."""
    folder = ModelFolder("toy", Path(shutil.copytree(toy_model, tmp_path / "copy")))
    refuse_unused(folder)
    tensors = load_file(toy_model / "model.safetensors")
    save_file({**tensors, name: torch.zeros(3, 4)}, folder.path / "model.safetensors")
    with pytest.raises(ModelError, match=f"have no place in AutoModel: 1, such as {name}"):
        refuse_unused(folder)
