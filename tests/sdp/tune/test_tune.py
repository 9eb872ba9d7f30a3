"""Tunings of a tiny model through the real command line: what runs, what is found again, what a stop leaves.

Losses and speeds of so small a model are noise; the decisions get made-up ones in their place.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

import sdp.tune.runner
import sdp.tune.setup
import sdp.tune.trials
from sdp.choice.run import Prepared
from sdp.cli.main import app
from sdp.errors import StageError
from sdp.pipeline.run_folder import RunFolder
from sdp.tune.artifacts import TuneReport
from sdp.tune.candidates import Candidate, Trial
from sdp.tune.trials import Finished, read_trial
from sdp_onnx.bench.interval import Interval
from support.toy import toy_rows, write_project, write_tsv

BLOCKS = Candidate("int8", "1x4", 0.8)
NAMES = ["int8-dense", "int8-1x4-0.80-0-steps", "int8-1x4-0.80-2-steps", "int8-1x4-0.80-8-steps"]
LOSSES = {0: 0.3, 2: 0.08, 8: 0.0}
GIVEN = ("--max-drop", "0.05", "--minutes", "60")
SETTINGS = ("finetune.epochs=8", "prune.steps=8", "analysis.rows=0", "bench.seconds=0.05", 'data.test="test.tsv"')
QUICK = [word for setting in SETTINGS for word in ("--set", setting)]


def made_up(trial: Trial, run: RunFolder) -> Finished:
    """What a trial found, with a loss that training brings down, and with the speed of its candidate."""
    found = read_trial(trial, run)
    loss = LOSSES[trial.steps] if trial.candidate.sparsity else 0.0
    drop, speed = Interval(loss, loss - 0.01, loss + 0.01), Interval.exact(4.0 if trial.candidate.sparsity else 2.0)
    return replace(found, outcome=replace(found.outcome, drop=drop, speedup=speed))


@pytest.fixture
def one_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    simplify(monkeypatch)


def simplify(patch: pytest.MonkeyPatch) -> None:
    """One pruned candidate, with made-up losses and speeds."""
    patch.setattr(sdp.tune.setup, "pruned_candidates", lambda recipe, units, layers: (BLOCKS,))
    for module in (sdp.tune.trials, sdp.tune.runner):
        patch.setattr(module, "read_trial", made_up)


def tune(folder: Path, *options: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, ["tune", "toy.toml", *GIVEN, *QUICK, *options])


def begun(result: Result) -> list[str]:
    """The trials that were begun, in order."""
    return re.findall(r"^[\d.]+ of 60 minutes: (\S+)$", result.stderr, re.MULTILINE)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> tuple[Path, Result]:
    """A finished tuning; copy before changing it."""
    folder = tmp_path_factory.mktemp("tune")
    write_project(folder, toy_model)
    write_tsv(folder / "test.tsv", toy_rows(40, seed=3))
    with pytest.MonkeyPatch.context() as patch:
        simplify(patch)
        result = tune(folder)
    assert result.exit_code == 0, result.output
    return folder, result


@pytest.fixture
def copy(tuned: tuple[Path, Result], tmp_path: Path) -> Path:
    shutil.copytree(tuned[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_a_candidate_climbs_the_ladder_until_it_keeps_the_promise(tuned: tuple[Path, Result]) -> None:
    folder, result = tuned
    assert begun(result) == NAMES
    # Fine-tuned once, and shared.
    assert len(re.findall(r"^finetune +runs", result.stderr, re.MULTILINE)) == 1
    dense = folder / "tune/toy/fp32-dense/1-finetune/model.safetensors"
    assert all((folder / "tune/toy" / name / "1-finetune/model.safetensors").samefile(dense) for name in NAMES)
    report = TuneReport.read(folder / "tune/toy/tune.json")
    assert report is not None
    assert report.chosen == "int8-1x4-0.80-8-steps"
    assert {row.folder for row in report.trials} == set(NAMES)
    assert "No other trial is likely to give a faster model" in result.stdout
    assert "| int8 1x4 0.8 | 8 |" in (folder / "tune/toy/tune.md").read_text()
    zeros = {row.folder: row.zeros for row in report.trials}
    assert [round(zeros[name], 2) for name in NAMES] == [0.0, 0.8, 0.8, 0.8]


def test_dense_int8_is_the_fine_tuned_model_bit_for_bit(tuned: tuple[Path, Result]) -> None:
    run = tuned[0] / "tune/toy/int8-dense"
    dense, pruned = (load_file(run / stage / "model.safetensors") for stage in ("1-finetune", "2-prune"))
    assert all(pruned[name].equal(weight) for name, weight in dense.items())
    assert all(bool(mask.all()) for mask in load_file(run / "2-prune/masks.safetensors").values())
    metrics = json.loads((run / "2-prune/metrics.json").read_text())
    assert metrics["sparsity"] == 0
    kinds = {tensor["encoding"] for tensor in json.loads((run / "4-export/manifest.json").read_text())["tensors"]}
    assert "kernel" in kinds


def test_only_the_chosen_one_is_measured_on_test_and_judged(tuned: tuple[Path, Result]) -> None:
    folder, result = tuned
    out = folder / "tune/toy"
    splits = {
        name: json.loads((out / name / "3-evaluate/metrics.json").read_text())["split"] for name in (*NAMES, "chosen")
    }
    assert splits == {**dict.fromkeys(NAMES, "dev"), "chosen": "test"}
    assert (out / "chosen/report.html").is_file()
    assert not any((out / name / "6-gate").exists() for name in NAMES)
    assert "Measured once on test" in result.stdout
    model = "2-prune/model.safetensors"
    assert (out / "chosen" / model).samefile(out / NAMES[3] / model)


def test_again_nothing_runs(tuned: tuple[Path, Result], one_candidate: None) -> None:
    folder, _ = tuned
    assert sorted(json.loads(tune(folder, "--dry-run", "--json").stdout)["done"]) == sorted(NAMES)
    again = tune(folder, "--json", "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert json.loads(again.stdout) == json.loads((folder / "tune/toy/tune.json").read_text())


def test_the_recipe_gives_the_chosen_model(copy: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        result = CliRunner().invoke(app, ["prune", "tune/toy/recipe.toml"])
    assert result.exit_code == 0, result.output
    for name in ("model", "masks"):
        found, expected = (
            load_file(run / f"2-prune/{name}.safetensors")
            for run in (copy / "runs/toy-tuned", copy / "tune/toy" / NAMES[3])
        )
        assert found.keys() == expected.keys()
        assert all(found[key].equal(value) for key, value in expected.items())


def interrupt_at(patch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Let the run of a trial end with an error instead of beginning."""
    real = Prepared.bring_up_to_date

    def bring_up_to_date(self: Prepared, *arguments: object, **options: object) -> None:
        if self.run.path.name == name:
            raise error
        real(self, *arguments, **options)  # type: ignore[arg-type]

    patch.setattr(Prepared, "bring_up_to_date", bring_up_to_date)


def test_after_ctrl_c_there_is_an_answer(copy: Path, one_candidate: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES[2:], "chosen"):
        shutil.rmtree(copy / "tune/toy" / name)
    with monkeypatch.context() as patch:
        interrupt_at(patch, NAMES[2], KeyboardInterrupt())
        stopped = tune(copy)
    assert stopped.exit_code == 130
    assert begun(stopped) == NAMES[2:3]
    assert "chosen: int8-dense" in stopped.stdout
    assert "the same command goes on from there" in stopped.stderr
    assert 'export.precision = "int8"' in (copy / "tune/toy/recipe.toml").read_text()


def test_a_trial_that_fails_leaves_the_others(copy: Path, one_candidate: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES[2:], "chosen"):
        shutil.rmtree(copy / "tune/toy" / name)
    with monkeypatch.context() as patch:
        interrupt_at(patch, NAMES[2], StageError("the weights are odd"))
        failed = tune(copy)
    assert failed.exit_code == 0, failed.output
    assert f"{NAMES[2]} failed: the weights are odd" in failed.stdout
    # The next choice, which is measured on test in its place.
    assert "chosen: int8-dense" in failed.stdout


@pytest.mark.slow
def test_a_trial_that_is_too_slow_stops_with_a_checkpoint(
    copy: Path, one_candidate: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*NAMES[2:], "chosen"):
        shutil.rmtree(copy / "tune/toy" / name)
    with monkeypatch.context() as patch:
        patch.setattr(sdp.tune.runner, "GRACE", 0.0)
        late = tune(copy)
    assert late.exit_code == 0, late.output
    assert begun(late) == NAMES[2:3]
    assert "the time for this training is up; a checkpoint was saved" in late.stderr
    assert "The next trial would be int8-1x4-0.80-2-steps, in about 1 minutes: the same command goes on" in late.stdout
    resumed = tune(copy)
    assert begun(resumed) == NAMES[2:]
    assert "resuming pruning from step 1 of 2" in resumed.stderr


def test_a_spent_budget_begins_nothing(copy: Path, one_candidate: None) -> None:
    for name in (*NAMES, "chosen"):
        shutil.rmtree(copy / "tune/toy" / name)
    result = tune(copy, "--minutes", "0")
    assert result.exit_code == 0, result.output
    assert not (copy / "tune/toy/int8-dense").exists()
    assert "chosen: fp32-dense" in result.stdout
    assert "prune.sparsity = 0.0" in (copy / "tune/toy/recipe.toml").read_text()
