"""What is said about an exported folder that cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdp.errors import RunError
from sdp.predict import Predictor


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
    with pytest.raises(RunError, match="Export again") as caught:
        Predictor(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
