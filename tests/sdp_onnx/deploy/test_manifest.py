from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from sdp_onnx.deploy.manifest import file_sha256, read_manifest, seal_manifest, write_manifest
from sdp_onnx.errors import ModelFileError


def test_a_manifest_lists_every_other_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"model")
    (tmp_path / "tokenizer" / "vocab.txt").write_bytes(b"")
    for _ in range(2):
        assert write_manifest(tmp_path, {"name": "größe"}) == tmp_path / "manifest.json"
        assert read_manifest(tmp_path) == {
            "name": "größe",
            "files": {
                "model.onnx": {"sha256": hashlib.sha256(b"model").hexdigest(), "bytes": 5},
                "tokenizer/vocab.txt": {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0},
            },
        }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "model.onnx", "tokenizer"]


def test_what_is_left_out_and_the_seal_are_not_listed(tmp_path: Path) -> None:
    for name in ("model.onnx", "stage.json", "manifest.sha256"):
        (tmp_path / name).write_text("x")
    manifest = write_manifest(tmp_path, {}, omit=("stage.json",))
    assert read_manifest(tmp_path)["files"].keys() == {"model.onnx"}
    assert seal_manifest(tmp_path).read_text() == f"{file_sha256(manifest)}  manifest.json\n"


def test_content_that_is_no_json_leaves_the_old_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"version": 1})
    with pytest.raises(TypeError):
        write_manifest(tmp_path, {"version": object()})
    assert read_manifest(tmp_path)["version"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_the_hash_of_a_large_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(content)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe", b"[]", json.dumps({"files": []}).encode()])
def test_a_manifest_that_cannot_be_used(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ModelFileError):
        read_manifest(tmp_path)
