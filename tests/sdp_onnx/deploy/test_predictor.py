"""An exported folder that is damaged is named with what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdp_onnx.deploy.predictor import Predictor
from sdp_onnx.errors import ModelFileError, UsageError


@pytest.mark.parametrize(
    ("config", "manifest", "message"),
    [
        ({"id2label": {"0": "a"}}, {"max_length": 8}, "lacks 'text_columns': another version"),
        ({}, {"max_length": 8, "text_columns": 1, "problem_type": "classification"}, "lacks 'id2label'"),
        (None, {}, "config.json is missing"),
    ],
)
def test_what_is_missing_is_named(
    config: dict | None, manifest: dict, message: str, tmp_path: Path, toy_model: Path
) -> None:
    shutil.copy(toy_model / "tokenizer.json", tmp_path)
    for name, content in (("config.json", config), ("manifest.json", manifest)):
        if content is not None:
            (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match="Export again") as caught:
        Predictor(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("manifest.json", {"max_length": "long"}),
        ("manifest.json", {"max_length": 10**30}),
        ("manifest.json", {"max_length": 0}),
        ("manifest.json", {"text_columns": True}),
        ("manifest.json", {"problem_type": "oracle"}),
        ("manifest.json", {"problem_type": "tagging"}),
        ("manifest.json", {"problem_type": "regression"}),
        ("config.json", {"id2label": ["neg", "pos"]}),
        ("config.json", {"id2label": None}),
        ("config.json", {"id2label": {"0": "neg", "1": "neg"}}),
        ("config.json", {"id2label": {"0": "neg"}}),
        ("config.json", {"id2label": {"0": "neg", "1": "pos", "2": "none"}}),
        ("tokenizer.json", {"model": {"type": "WordLevel", "vocab": {"[UNK]": 10**6}, "unk_token": "[UNK]"}}),
    ],
)
def test_files_that_do_not_belong_together(file: str, change: dict, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    shutil.copytree(finished / "runs/toy/4-export", folder)
    content = json.loads((folder / file).read_text()) | change
    (folder / file).write_text(json.dumps(content))

    def ask() -> None:
        predictor = Predictor(folder)
        if predictor.type == "tagging":
            predictor.words(["good"])
        else:
            predictor("good film")

    with pytest.raises(ModelFileError) as caught:
        ask()
    assert str(folder) in str(caught.value)


def test_half_of_a_character_is_no_text(finished: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        Predictor(finished / "runs/toy/4-export")("good \ud83d")


def test_a_tokenizer_whose_rust_panics_is_an_error(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished / "runs/toy/4-export", tmp_path / "exported")
    content = json.loads((folder / "tokenizer.json").read_text())
    special = content["post_processor"]["special_tokens"]
    special["[SEP] no more"] = special.pop("[SEP]")
    (folder / "tokenizer.json").write_text(json.dumps(content))
    # A panic is no Exception to Python.
    with pytest.raises(ModelFileError, match="its tokenizer fails at this text"):
        Predictor(folder)("good")
