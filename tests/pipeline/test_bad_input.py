"""A user's mistakes: one clear error each (what, where, what to do next), the right exit code, nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
from transformers import AutoTokenizer

from support.toy import sdp, write_project


@pytest.fixture
def project(tmp_path: Path, toy_model: Path) -> Path:
    write_project(tmp_path, toy_model)
    return tmp_path


def refused(project: Path, *arguments: str | Path, code: int = 2) -> str:
    """Run a command that must fail; return its one message."""
    done = sdp(*arguments, cwd=project)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert len(re.findall("^error: ", done.stderr, re.MULTILINE)) == 1, done.stderr
    assert done.stdout == ""
    return done.stderr


def assert_contains(message: str, *words: str) -> None:
    for word in words:
        assert word in message, f"{word!r} is not in:\n{message}"


def test_missing_recipe(project: Path) -> None:
    assert_contains(refused(project, "run", "tiy.toml"), "tiy.toml", "no such recipe", "toy.toml")


def test_missing_key(project: Path) -> None:
    (project / "bare.toml").write_text('name = "bare"\n[task]\ntype = "classification"\n')
    assert_contains(refused(project, "run", "bare.toml"), "bare.toml: model: missing")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ('prune.sparsity="a lot"', ["--set: prune.sparsity", "valid number", "'a lot'"]),
        ("prune.sparsity=1.2", ["--set: prune.sparsity", "less than 1", "1.2"]),
        ("prune.sparcity=0.5", ["--set: prune.sparcity", "unknown key", '"sparsity"']),
        ('task.metric="pearson"', ["metric", "does not fit", "accuracy"]),
        ("prune.sparsity=high", ["--set: prune.sparsity", "valid number", "'high'"]),
    ],
)
def test_wrong_values_and_keys(project: Path, override: str, words: list[str]) -> None:
    assert_contains(refused(project, "run", "toy.toml", "--set", override), *words)


def test_extends_in_a_circle(project: Path) -> None:
    (project / "a.toml").write_text('extends = "b.toml"\n')
    (project / "b.toml").write_text('extends = "a.toml"\n')
    assert_contains(refused(project, "run", "a.toml"), "circle", "a.toml", "b.toml")


def test_model_folder_without_weights(project: Path) -> None:
    shutil.copytree(project / "model", project / "weightless", ignore=shutil.ignore_patterns("*.safetensors"))
    assert_contains(refused(project, "run", "toy.toml", "--set", 'model.name="weightless"'), "no weights", "weightless")


def test_pickled_weights_are_never_loaded(project: Path) -> None:
    shutil.copytree(project / "model", project / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    (project / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    message = refused(project, "run", "toy.toml", "--set", 'model.name="pickled"')
    assert_contains(message, "pickle", "pytorch_model.bin", "save_pretrained")


def test_what_the_system_refuses(project: Path) -> None:
    message = refused(project, "run", "toy.toml", "--set", f'data.train="{"long" * 100}.tsv"')
    assert_contains(message, "longlong", "name too long")
    assert_contains(refused(project, "check", "toy.toml", "--set", f'model.name="{"long" * 1500}"'), "hub id")
    message = refused(project, "run", "toy.toml", "--run-dir", "l" * 300, code=1)
    assert_contains(message, "lll", "File name too long", "same command")


def test_model_that_is_nowhere(project: Path) -> None:
    assert_contains(
        refused(project, "run", "toy.toml", "--set", 'model.name="nobody/nothing"'), "nobody/nothing", "hub"
    )
    assert_contains(refused(project, "run", "toy.toml", "--set", 'model.name="./nothing"'), "no such model folder")
    message = refused(project, "run", "toy.toml", "--set", 'model.name="package:no_such_thing/model"')
    assert_contains(message, "no_such_thing", "pip install")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["dev.tsv", "train.tsv"]),
        (b"", ["dev.tsv", "empty"]),
        (b"sentence\tlabel\n", ["dev.tsv", "no rows"]),
        (b"text\tlabel\ngood\tpos\n", ["dev.tsv", "sentence", "text"]),
        (b"sentence\tlabel\ngood\tneutral\n", ["dev.tsv", "neutral", "row 1"]),
        (b"sentence\tlabel\ngood\xff\tpos\n", ["dev.tsv", "UTF-8", "line 2"]),
    ],
)
def test_data_files(project: Path, content: bytes | None, words: list[str]) -> None:
    (project / "dev.tsv").unlink()
    if content is not None:
        (project / "dev.tsv").write_bytes(content)
    assert_contains(refused(project, "run", "toy.toml"), *words)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA may be here")
def test_a_provider_that_is_not_here_is_reported_before_any_work(project: Path) -> None:
    on_cuda = ("--set", 'bench.provider="cuda"')
    assert_contains(
        refused(project, "run", "toy.toml", *on_cuda), "CUDAExecutionProvider", "onnxruntime-gpu", "cpu provider"
    )
    assert not list((project / "runs" / "toy").glob("1-finetune*"))
    sdp("finetune", "toy.toml", *on_cuda, "--set", "finetune.epochs=1", cwd=project, check=True)


def test_a_piece_of_the_test_split_without_an_embedding(project: Path) -> None:
    shutil.copytree(project / "model", project / "wordy")
    tokenizer = AutoTokenizer.from_pretrained(project / "wordy")
    tokenizer.add_tokens(["zebra"])
    tokenizer.save_pretrained(project / "wordy")
    (project / "test.tsv").write_text("sentence\tlabel\na good zebra\tpos\n")
    settings = ['model.name="wordy"', 'data.test="test.tsv"', "finetune.epochs=1", "prune.epochs=2"]
    words = [word for setting in settings for word in ("--set", setting)]
    # Before training: after it, hours would be lost.
    assert_contains(refused(project, "evaluate", "toy.toml", "--quiet", *words), "at test row 1", "embeddings for")
    assert not (project / "runs/toy/1-finetune").exists()


def test_gate_without_the_stage_it_reads(project: Path) -> None:
    assert_contains(refused(project, "gate", "toy.toml", "--no-update"), "no such run", "sdp run")
    sdp("evaluate", "toy.toml", cwd=project, check=True)
    assert_contains(refused(project, "gate", "--no-update"), "4-export/metrics.json", "sdp export")


def test_run_folder_of_another_recipe(project: Path) -> None:
    sdp("finetune", "toy.toml", cwd=project, check=True)
    (project / "other.toml").write_text((project / "toy.toml").read_text())
    before = (project / "runs/toy/1-finetune/model.safetensors").read_bytes()
    assert_contains(refused(project, "finetune", "other.toml"), "belongs to recipe", "toy.toml", "--run-dir")
    assert (project / "runs/toy/1-finetune/model.safetensors").read_bytes() == before


def test_run_folder_with_something_else_in_it(project: Path) -> None:
    (project / "thesis").mkdir()
    (project / "thesis" / "chapter.txt").write_text("mine")
    assert_contains(refused(project, "run", "toy.toml", "--run-dir", "thesis"), "not empty", "--run-dir")
    assert [entry.name for entry in (project / "thesis").iterdir()] == ["chapter.txt"]


def test_no_run_yet(project: Path) -> None:
    assert_contains(refused(project, "bench"), "no run yet", "sdp run")


def test_cuda_that_is_not_there(project: Path, finished: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert_contains(refused(project, "run", "toy.toml", "--set", 'runtime.device="cuda"'), "CUDA", "runtime.device")
    exported = shutil.copytree(finished, tmp_path / "exported")
    # In fp16 the exported file is compared with torch, and scored, on the GPU: required before anything is trained.
    structured = (
        "pattern='structured'",
        "criterion='momentum'",
        "scope='global'",
        "sparsity=0.9",
        "target_speedup=1.5",
    )
    options = [word for setting in structured for word in ("--set", f"prune.{setting}")]
    for command in (
        ["bench"],
        ["export", "--set", 'export.precision="fp16"'],
        ["prune", *options],
    ):
        done = sdp(command[0], "toy.toml", *command[1:], "--set", 'bench.provider="cuda"', cwd=exported)
        assert done.returncode == 2, done.stderr
        assert "CUDAExecutionProvider" in done.stderr
        assert "Traceback" not in done.stderr


def test_inspect_and_predict_of_things_that_are_none(project: Path) -> None:
    (project / "broken.onnx").write_bytes(b"not a model")
    assert_contains(refused(project, "inspect", "broken.onnx"), "broken.onnx")
    assert_contains(refused(project, "inspect", "absent.onnx"), "absent.onnx")
    assert_contains(refused(project, "predict", "model", "text"), "model.onnx")


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_what_has_no_end_is_neither_waited_for_nor_read(name: str, project: Path) -> None:
    os.mkfifo(project / "pipe")
    for command in ("inspect", "check"):
        assert_contains(refused(project, command, name), f"{name}: ", "device or a pipe", "save its content as a file")
    assert_contains(refused(project, "compare", name, name), name, "neither a run folder nor a saved baseline")


@pytest.mark.parametrize(("file", "kind"), [("model.safetensors", "pipe"), ("tokenizer_config.json", "/dev/zero")])
def test_a_model_folder_with_a_file_that_has_no_end(file: str, kind: str, project: Path) -> None:
    folder = shutil.copytree(project / "model", project / "endless")
    os.mkfifo(project / "pipe")
    (folder / file).unlink()
    (folder / file).symlink_to(project / kind)
    assert_contains(refused(project, "check", "toy.toml", "--set", 'model.name="endless"'), file, "device or a pipe")


def test_an_exported_folder_with_a_tokenizer_that_has_no_end(project: Path, finished: Path) -> None:
    folder = shutil.copytree(finished / "runs/toy/4-export", project / "copy")
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    assert_contains(refused(project, "predict", "copy", "text"), "tokenizer.json", "device or a pipe")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes; only root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small file system")
    try:
        yield folder
    finally:
        # Rows that were read are files of it that this process still holds.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(os.name != "posix", reason="mount")
def test_full_disk(project: Path, small_disk: Path) -> None:
    """The error says that the disk is full; after making room the same command goes on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(540_000))
    run_dir = small_disk / "run"
    message = refused(project, "finetune", "toy.toml", "--run-dir", run_dir, code=1)
    assert_contains(message, "no space left", "same command")
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    sdp("finetune", "toy.toml", "--run-dir", run_dir, cwd=project, check=True)
