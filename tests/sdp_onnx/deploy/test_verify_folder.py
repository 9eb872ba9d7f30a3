"""A shipped folder, whole and damaged in every file and in many ways."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdp_onnx.deploy.golden import read_golden, write_golden
from sdp_onnx.deploy.manifest import MANIFEST, SEAL, seal_manifest, write_manifest
from sdp_onnx.deploy.verify_folder import FolderReport, shipped_files, verify_folder
from sdp_onnx.errors import UsageError
from sdp_onnx.operators.library import LIBRARY_NAME, has_library

FILES = ["README.md", "config.json", "golden.json", MANIFEST, SEAL, "model.onnx", "tokenizer.json"]
LIBRARY = [LIBRARY_NAME] if has_library() else []


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of a shipped folder, as another machine would have it."""
    target = tmp_path / "shipped"
    shutil.copytree(finished / "runs" / "toy" / "8-ship", target)
    (target / "stage.json").unlink()
    return target


def failed(report: FolderReport) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if check.outcome == "failed"}


def sealed(folder: Path) -> None:
    """Write manifest and seal anew, as somebody would who changed the folder on purpose."""
    content = json.loads((folder / MANIFEST).read_text())
    write_manifest(folder, {key: value for key, value in content.items() if key != "files"})
    seal_manifest(folder)


def test_a_whole_folder_verifies_without_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sdp_onnx.deploy.verify_folder import verify_folder\n"
        "report = verify_folder(Path(sys.argv[1]))\n"
        "print(report.ok, len(report.checks), 'torch' in sys.modules, 'sdp' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    found = sorted(path.name for path in folder.iterdir())
    assert set(found) >= {*FILES, *LIBRARY}
    # One line for each file (manifest and seal share one), then tokenizer, model and golden inputs.
    assert done.stdout.split() == ["True", str(len(found) - 1 + 3), "False", "False"]
    assert shipped_files(folder) == found


def test_the_seal_is_one_that_sha256sum_checks(folder: Path) -> None:
    digest, name = (folder / SEAL).read_text().split()
    assert name == MANIFEST
    assert digest == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", SEAL], cwd=folder, check=True, capture_output=True)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), bits=st.integers(1, 255))
@pytest.mark.parametrize("name", [*FILES, *LIBRARY])
def test_one_changed_byte_is_reported_by_name(folder: Path, name: str, place: float, bits: int) -> None:
    path = folder / name
    content = path.read_bytes()
    changed = bytearray(content)
    changed[round(place * (len(content) - 1))] ^= bits
    path.write_bytes(changed)
    try:
        report = verify_folder(folder)
    finally:
        path.write_bytes(content)
    assert not report.ok
    # A changed hash in the seal reads like a changed manifest: both are named.
    assert any(name in (found, *detail.split()) for found, detail in failed(report).items())
    assert not any(check.name in ("tokenizer", "model") for check in report.checks)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_reported_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert failed(verify_folder(folder))[name] == "is missing"


def test_a_truncated_model_is_reported_by_its_size(folder: Path) -> None:
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-1000])
    wanted = f"has {len(content) - 1000} bytes, and {len(content)} are listed"
    assert failed(verify_folder(folder)) == {"model.onnx": wanted}


def test_files_too_many_are_reported_and_bookkeeping_is_not(folder: Path) -> None:
    (folder / ".cache" / "huggingface").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "x").touch()
    (folder / ".gitattributes").touch()
    (folder / "stage.json").write_text("{}")
    assert verify_folder(folder).ok
    (folder / "inner").mkdir()
    (folder / "inner" / "stage.json").touch()
    (folder / "weights.bin").touch()
    (folder / "link").symlink_to("inner")
    wrong = failed(verify_folder(folder))
    assert wrong == dict.fromkeys(["inner/stage.json", "link", "weights.bin"], "is not in the manifest")


def test_a_link_counts_for_no_file_wherever_it_leads(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.onnx", tmp_path / "model.onnx")
    (folder / "model.onnx").symlink_to("../model.onnx")
    assert "link that leads out of the folder" in failed(verify_folder(folder))["model.onnx"]
    (folder / "model.onnx").unlink()
    shutil.move(tmp_path / "model.onnx", folder / "copy.onnx")
    (folder / "model.onnx").symlink_to("copy.onnx")
    assert failed(verify_folder(folder))["model.onnx"].startswith("is a symbolic link;")
    shutil.move(folder / MANIFEST, tmp_path / MANIFEST)
    (folder / MANIFEST).symlink_to(tmp_path / MANIFEST)
    assert "link that leads out" in failed(verify_folder(folder))[MANIFEST]


def test_a_pipe_is_no_file_and_is_not_waited_for(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    assert failed(verify_folder(folder)) == {"config.json": "is not a regular file"}


@pytest.mark.parametrize("name", [MANIFEST, SEAL])
def test_a_manifest_that_is_no_file_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    code = (
        "import sys; from pathlib import Path; from sdp_onnx.deploy.verify_folder import verify_folder\n"
        "print(*[check.name for check in verify_folder(Path(sys.argv[1])).checks])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[0] == name


def test_a_link_in_the_place_of_the_manifest_is_not_read(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / MANIFEST, tmp_path / MANIFEST)
    (folder / MANIFEST).symlink_to(tmp_path / MANIFEST)
    assert [check.name for check in verify_folder(folder).checks] == [MANIFEST]


@pytest.mark.parametrize("name", [MANIFEST, SEAL])
def test_a_manifest_of_gigabytes_is_not_read(folder: Path, name: str) -> None:
    # Sparse: it takes no room on the disk.
    os.truncate(folder / name, 2**40)
    assert "no manifest is so large" in failed(verify_folder(folder))[name]


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "a/../../outside", "", "a\x00b", "\ud800", "a\x1b[2K\nb"]
)
def test_a_manifest_that_points_outside_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_text("x")
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    (folder / MANIFEST).write_text(json.dumps(content))
    seal_manifest(folder)
    assert failed(verify_folder(folder)).keys() == {MANIFEST}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"files": []}',
        '{"files": {"a": 3}}',
        '{"files": {"a": {}}}',
        '{"files": {"a": {"sha256": 0, "bytes": 1}}}',
        '{"files": {"a": {"sha256": "0", "bytes": [1]}}}',
        '{"files": {"a": {"sha256": "0", "bytes": ' + "9" * 5000 + "}}}",
        '{"files": ' + "[" * 100_000,
    ],
    ids=range(10),
)
def test_a_sealed_manifest_that_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    seal_manifest(folder)
    assert failed(verify_folder(folder)).keys() == {MANIFEST}


def test_an_operator_library_that_is_no_file_of_the_folder_is_refused(folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**content, "operator_library": "/elsewhere/other.so"}))
    seal_manifest(folder)
    assert "operator library" in failed(verify_folder(folder))[MANIFEST]


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "golden.json", *LIBRARY])
def test_what_the_manifest_does_not_list_is_never_used(folder: Path, name: str) -> None:
    """A file that no hash vouches for, in the place where the model or its library is looked for."""
    content = json.loads((folder / MANIFEST).read_text())
    del content["files"][name]
    if name == LIBRARY_NAME:
        content["operator_library"] = None
    (folder / MANIFEST).write_text(json.dumps(content))
    seal_manifest(folder)
    checks = {check.name: check for check in verify_folder(folder).checks}
    assert checks[name].detail == "is not in the manifest"
    assert checks["golden inputs"].outcome == "skipped"
    assert not {"tokenizer", "model"} & checks.keys()


@pytest.mark.skipif(not has_library(), reason="needs the operator library")
def test_a_folder_verifies_from_inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare file name would make the loader look for the library everywhere but here."""
    monkeypatch.chdir(folder)
    assert failed(verify_folder(Path("."))) == {}


@pytest.mark.skipif(not has_library() or platform.libc_ver()[0] != "glibc", reason="needs the library, and glibc")
def test_a_damaged_library_is_never_loaded(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sdp_onnx.deploy.verify_folder import verify_folder\n"
        "print(verify_folder(Path(sys.argv[1])).ok)"
    )

    def verified_and_loaded() -> tuple[bool, bool]:
        command = [sys.executable, "-c", code, str(folder)]
        # The loader tells of every library that it opens.
        environment = {**os.environ, "LD_DEBUG": "files"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip() == "True", f"file={folder / LIBRARY_NAME}" in done.stderr

    assert verified_and_loaded() == (True, True)
    content = bytearray((folder / LIBRARY_NAME).read_bytes())
    # Nothing that the loader looks at: it would load.
    content[-1] ^= 1
    (folder / LIBRARY_NAME).write_bytes(content)
    assert verified_and_loaded() == (False, False)


def test_other_logits_are_reported_although_every_hash_is_right(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "classifier.bias")
    moved = onnx.numpy_helper.to_array(bias) + np.float32(1.0)
    bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
    onnx.save(model, folder / "model.onnx")
    sealed(folder)
    wrong = failed(verify_folder(folder))
    assert wrong.keys() == {"golden inputs"}
    assert "the logits differ by" in wrong["golden inputs"]


def test_another_tokenizer_is_reported_although_every_hash_is_right(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["t"], vocabulary["h"] = vocabulary["h"], vocabulary["t"]
    vocabulary["the"], vocabulary["a"] = vocabulary["a"], vocabulary["the"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    sealed(folder)
    assert "tokens differ" in failed(verify_folder(folder))["tokenizer"]


def test_a_model_that_does_not_load_is_reported_although_every_hash_is_right(folder: Path) -> None:
    (folder / "model.onnx").write_text("no model")
    sealed(folder)
    assert failed(verify_folder(folder)).keys() == {"model"}


def test_golden_inputs_hold_what_they_were_given_and_no_row_of_the_data(folder: Path, finished: Path) -> None:
    golden = read_golden(folder)
    write_golden(folder, golden)
    again = read_golden(folder)
    for before, after in zip(golden.cases, again.cases, strict=True):
        assert (before.name, before.text) == (after.name, after.text)
        np.testing.assert_array_equal(before.logits, after.logits)
    rows = (finished / "train.tsv").read_text() + (finished / "dev.tsv").read_text()
    assert all(" ".join(case.text) not in rows for case in golden.cases if case.text)
    shapes = {case.inputs["input_ids"].shape for case in golden.cases if not case.text}
    assert {shape[0] for shape in shapes} == {1, 2, 7}
    assert any((case.inputs["attention_mask"] == 0).any() for case in golden.cases)


def test_no_folder_at_all_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        verify_folder(tmp_path / "gone")
