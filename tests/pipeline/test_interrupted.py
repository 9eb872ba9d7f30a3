"""What is printed of an interrupted stage is what then happens: it resumes, or starts anew and the change is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.errors import StageError
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import input_identities, plan, run_pipeline
from sdp.recipe import load_recipe
from sdp.stages import evaluate, finetune, report
from support.toy import toy_rows, write_tsv


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose fine-tuning was interrupted: it broke off after its second checkpoint."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("toy.toml", "train.tsv", "dev.tsv"):
        shutil.copy(finished / name, folder / name)
    (folder / "model").symlink_to((finished / "model").resolve())
    break_off(folder, monkeypatch, checkpoints=(10, 20))
    return folder


def break_off(folder: Path, monkeypatch: pytest.MonkeyPatch, checkpoints: tuple[int, ...]) -> None:
    def broken(context: StageContext) -> dict:
        for step in checkpoints:
            checkpoint = context.target / "checkpoints" / f"checkpoint-{step}"
            checkpoint.mkdir(parents=True)
            (checkpoint / "complete.json").write_text("{}")
        raise StageError("power is gone")

    run, file = RunFolder(folder / "runs/toy"), folder / "toy.toml"
    with monkeypatch.context() as patch, run.at_work("toy", file, ()):
        patch.setattr(finetune, "run", broken)
        with pytest.raises(StageError):
            run_pipeline(load_recipe(file), run, "finetune", Reporter(quiet=True))


def reasons(folder: Path, *overrides: str) -> dict[str, str]:
    recipe, run = load_recipe(folder / "toy.toml", overrides), RunFolder(folder / "runs/toy")
    statuses = plan(recipe, run, input_identities(recipe, download=False))
    return {status.stage.name: status.reason for status in statuses}


def test_the_same_settings_resume_from_the_newest_checkpoint(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        reasons(project, "runtime.checkpoint_seconds=1")["finetune"] == "interrupted before, will resume from step 20"
    )
    shutil.rmtree(project / "runs")
    break_off(project, monkeypatch, checkpoints=())
    assert reasons(project)["finetune"] == "interrupted before its first checkpoint, starts at step 0"


@pytest.mark.parametrize(
    ("override", "change"),
    [
        ("finetune.epochs=5", "finetune.epochs changed: 10.0 -> 5.0"),
        ("seed=1", "seed changed: 0 -> 1"),
        ("data.max_length=16", "data.max_length changed: 32 -> 16"),
    ],
)
def test_other_settings_start_anew_and_are_named(project: Path, override: str, change: str) -> None:
    assert reasons(project, override)["finetune"] == f"interrupted before, starts anew: {change}"


@pytest.mark.parametrize(
    ("name", "other", "change"),
    [("code_hash", "other", "code changed"), ("library_versions", {}, 'libraries.torch changed: "2')],
)
def test_other_code_and_libraries_are_named(
    project: Path, name: str, other: object, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"sdp.pipeline.runner.{name}", lambda _: other)
    assert reasons(project)["finetune"].startswith(f"interrupted before, starts anew: {change}")


def test_other_inputs_are_named_and_check_prints_what_run_prints(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tsv(project / "dev.tsv", toy_rows(62, seed=3))
    words = "interrupted before, starts anew: data.dev: dev.tsv changed"
    monkeypatch.chdir(project)
    assert words in CliRunner().invoke(app, ["check", "toy.toml"]).stdout

    def stop(context: StageContext) -> dict:
        assert not (context.target / "checkpoints").exists(), "it starts anew"
        raise StageError("far enough")

    monkeypatch.setattr(finetune, "run", stop)
    assert f"runs ({words})" in CliRunner().invoke(app, ["finetune", "toy.toml"]).stderr


def test_one_begun_by_an_older_version_starts_anew(project: Path) -> None:
    (project / "runs/toy/1-finetune.partial/stage.json").write_text(json.dumps({"fingerprint": "of old"}))
    assert reasons(project)["finetune"] == "interrupted before, starts anew: what it was made from is not known"


def test_a_later_stage_is_named_by_what_it_waits_for_or_keeps(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    folder, recipe = tmp_path / "copy", load_recipe(tmp_path / "copy" / "toy.toml")

    def broken(*given: object) -> dict:
        raise StageError("power is gone")

    for module, stage, words in (
        (report, "report", "interrupted before, starts anew: this stage keeps no part of its work"),
        (evaluate, "evaluate", "interrupted before, will resume"),
    ):
        shutil.rmtree(next(folder.glob(f"runs/toy/?-{stage}")))
        monkeypatch.setattr(module, "run", broken)
        with pytest.raises(StageError):
            run_pipeline(recipe, RunFolder(folder / "runs/toy"), stage, Reporter(quiet=True))
        assert reasons(folder)[stage] == words
        assert reasons(folder, "finetune.epochs=5")[stage].startswith("interrupted before; depends on ")
