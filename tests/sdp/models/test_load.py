"""Encoders with a fresh head for the task, as torch modules."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdp.errors import ModelError
from sdp.models.inputs import require_embeddings
from sdp.models.load import load_finetuned, load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.recipe.benchmark_tasks import ProblemType
from support.toy import save_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["bert", "xlmr", "distilbert"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def copy(toy_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_model, tmp_path / "copy"))


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(5, 13)[None]
    with torch.no_grad():
        result: torch.Tensor = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return result


@pytest.mark.parametrize("labels", [("neg", "pos"), ("c", "a", "b"), ("only", "é", "x y", "0", "1")])
def test_classification(saved: Path, labels: tuple[str, ...]) -> None:
    model = load_pretrained(ModelFolder("m", saved), "classification", labels, CPU)
    assert logits(model).shape == (1, len(labels))
    assert model.config.problem_type == "single_label_classification"
    assert model.config.id2label == dict(enumerate(labels))
    assert model.config.label2id == {label: index for index, label in enumerate(labels)}


def test_regression(saved: Path) -> None:
    model = load_pretrained(ModelFolder("m", saved), "regression", (), CPU)
    assert logits(model).shape == (1, 1)
    assert model.config.problem_type == "regression"


def test_the_encoder_is_the_saved_one(saved: Path) -> None:
    model = load_pretrained(ModelFolder("m", saved), "classification", ("a", "b"), CPU)
    loaded = {name.partition(".")[2]: value for name, value in model.state_dict().items()}
    stored = {name: value for name, value in load_file(saved / "model.safetensors").items() if "pooler" not in name}
    assert stored.keys() <= loaded.keys()
    assert all(torch.equal(loaded[name], value) for name, value in stored.items())


def test_bfloat16_weights_become_float32(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    halved = {name: value.to(torch.bfloat16) for name, value in tensors.items()}
    save_file(halved, copy / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16", "torch_dtype": "bfloat16"}))
    model = load_pretrained(ModelFolder("m", copy), "classification", ("a", "b"), CPU)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(model.get_parameter(f"bert.{name}"), halved[name].float())
    model.save_pretrained(copy / "again")
    assert {parameter.dtype for parameter in load_finetuned(copy / "again").parameters()} == {torch.float32}


def test_a_head_of_another_size_is_replaced(copy: Path, tmp_path: Path) -> None:
    load_pretrained(ModelFolder("m", copy), "classification", ("a", "b", "c"), CPU).save_pretrained(tmp_path / "three")
    model = load_pretrained(ModelFolder("m", tmp_path / "three"), "classification", ("x", "y"), CPU)
    assert logits(model).shape == (1, 2)
    assert model.config.id2label == {0: "x", 1: "y"}


def test_a_new_head_is_new_also_where_the_old_one_has_its_size(copy: Path, tmp_path: Path) -> None:
    """Its weights stayed, and its names were overwritten."""
    load_pretrained(ModelFolder("m", copy), "classification", ("b", "a"), CPU).save_pretrained(tmp_path / "tuned")
    old = load_file(tmp_path / "tuned/model.safetensors")
    torch.manual_seed(1)
    model = load_pretrained(ModelFolder("m", tmp_path / "tuned"), "classification", ("a", "b"), CPU)
    differing = {name for name, value in model.state_dict().items() if not torch.equal(old[name], value)}
    assert differing == {"classifier.weight"}, "the bias begins with zeros"
    assert model.config.id2label == {0: "a", 1: "b"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_kept_head_is_the_checkpoints(copy: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    source = load_pretrained(ModelFolder("m", copy), "classification", ("b", "a"), CPU).to(dtype)
    source.save_pretrained(tmp_path / "tuned")
    model = load_pretrained(ModelFolder("m", tmp_path / "tuned"), "classification", ("b", "a"), CPU, keep_head=True)
    assert model.config.id2label == {0: "b", 1: "a"}
    assert all(torch.equal(model.state_dict()[name], value.float()) for name, value in source.state_dict().items())


def test_a_kept_head_is_whole(copy: Path, tmp_path: Path) -> None:
    load_pretrained(ModelFolder("m", copy), "classification", ("b", "a"), CPU).save_pretrained(tmp_path / "tuned")
    tensors = load_file(tmp_path / "tuned/model.safetensors")
    del tensors["bert.pooler.dense.bias"]
    save_file(tensors, tmp_path / "tuned/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 are missing or of another shape, such as bert\.pooler\.dense\.bias"):
        load_pretrained(ModelFolder("m", tmp_path / "tuned"), "classification", ("b", "a"), CPU, keep_head=True)


@pytest.mark.parametrize(
    ("name", "is_refused"),
    [
        # BERT with relative positions, which transformers 5 no longer computes.
        ("encoder.layer.0.attention.self.distance_embedding.weight", True),
        ("bert.encoder.layer.1.attention.self.distance_embedding.weight", True),
        ("encoder.layer.2.attention.self.query.weight", True),
        ("embeddings.task_type_embeddings.weight", True),
        ("encoder.layer.0.attention.self.query.lora_A.default.weight", True),
        ("cls.predictions.decoder.weight", False),
        ("lm_head.dense.weight", False),
        ("qa_outputs.weight", False),
        ("embeddings.position_ids", False),
    ],
)
@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_weights_without_a_place(copy: Path, name: str, is_refused: bool, kind: ProblemType) -> None:
    tensors = load_file(copy / "model.safetensors")
    prefix = "bert." if name.startswith("bert.") else ""
    tensors = {f"{prefix}{key}": value for key, value in tensors.items()}
    save_file({**tensors, name: torch.zeros(3, 4)}, copy / "model.safetensors", metadata={"format": "pt"})
    if not is_refused:
        assert load_pretrained(ModelFolder("m", copy), kind, ("O", "B-X"), CPU)
        return
    with pytest.raises(ModelError, match=f"weights of the encoder have no place in .*: 1, such as {name}") as caught:
        load_pretrained(ModelFolder("m", copy), kind, ("O", "B-X"), CPU)
    assert caught.value.where == str(copy)


def test_a_finetuned_model_comes_back(copy: Path, tmp_path: Path) -> None:
    model = load_pretrained(ModelFolder("m", copy), "classification", ("a", "b"), CPU)
    model.save_pretrained(tmp_path / "tuned")
    again = load_finetuned(tmp_path / "tuned")
    assert torch.equal(logits(again), logits(model))
    assert again.config.id2label == {0: "a", 1: "b"}


def refused(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_pretrained(ModelFolder("m", path), "classification", ("a", "b"), CPU)
    assert caught.value.where == str(path)
    assert "\n" not in caught.value.what
    return caught.value


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model_type": "no-such-architecture"}', "[]"])
def test_a_damaged_config(copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    assert "the model cannot be loaded" in refused(copy).what


@pytest.mark.parametrize("length", [0, 100, -8])
def test_damaged_weights(copy: Path, length: int) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "the model cannot be loaded" in refused(copy).what


def test_an_architecture_that_classifies_nothing(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "vit"}')
    assert "cannot" in refused(copy).what


def test_weights_that_are_not_of_the_config_are_refused(copy: Path) -> None:
    """Left alone, transformers would train on from random numbers."""
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    assert "do not fit" in refused(copy).what


def test_weights_of_another_architecture_are_refused(copy: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "distilbert", "distilbert")
    shutil.copy(other / "model.safetensors", copy / "model.safetensors")
    assert "do not fit" in refused(copy).what


def test_tokenizer(saved: Path) -> None:
    assert load_tokenizer(saved).encode([("good film",)])[0].inputs["input_ids"]


def test_a_damaged_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(ModelError, match="the tokenizer cannot be loaded") as caught:
        load_tokenizer(copy)
    assert caught.value.where == str(copy)


def test_a_piece_without_an_embedding(copy: Path) -> None:
    model = load_pretrained(ModelFolder("m", copy), "regression", (), CPU)
    size = model.config.vocab_size
    require_embeddings(model, [{"input_ids": [0, size - 1]}, {"input_ids": []}], "there")
    with pytest.raises(ModelError, match=f"gives piece {size}") as caught:
        require_embeddings(model, [{"input_ids": [0]}, {"input_ids": [1, size, 2]}], "there")
    assert caught.value.where == "there"
