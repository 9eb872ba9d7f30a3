"""Studies of a tiny model through the real command line: what runs, what does not, what is written, what survives."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from support.toy import ONE_THREAD, toy_rows, write_project, write_tsv

GRID = ["--vary", "prune.losses=none,kld", "--vary", "prune.sparsity=0.9,0.97", "--seeds", "2"]
GRID += ["--baseline", "prune.losses=none", "--out", "out"]
# Few enough epochs for the arms to differ.
SHORT = ["--set", "finetune.epochs=6", "--set", "prune.epochs=1", "--set", "prune.mask_updates=2"]
SHORT += ["--set", 'data.test="test.tsv"']
# Two of the cells of the grid, which have the same keys there.
PART = ["--vary", "prune.losses=none,kld", "--vary", "prune.sparsity=0.9", "--seeds", "1", "--out", "out"]


def project(folder: Path, model: Path) -> Path:
    """The toy project with a test split."""
    write_project(folder, model)
    write_tsv(folder / "test.tsv", toy_rows(80, seed=3))
    return folder


def study(folder: Path, *options: str) -> Result:
    """Run `sdp study toy.toml` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, ["study", "toy.toml", *options])


def cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Key of a cell -> content."""
    return {path.stem: json.loads(path.read_text()) for path in (folder / "out/cells").glob("*.json")}


def outcome(content: dict[str, Any]) -> dict[str, Any]:
    """What of a cell must not depend on when it ran."""
    return {key: value for key, value in content.items() if key not in ("date", "seconds")}


def ran(result: Result, stage: str) -> int:
    return len(re.findall(rf"^{stage} +runs", result.stderr, re.MULTILINE))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> tuple[Path, Result]:
    """A finished study and the result of its command; copy before changing it."""
    folder = tmp_path_factory.mktemp("study")
    project(folder, toy_model)
    result = study(folder, *GRID, *SHORT)
    assert result.exit_code == 0, result.output
    return folder, result


@pytest.fixture
def copy(unbroken: tuple[Path, Result], tmp_path: Path) -> Path:
    shutil.copytree(unbroken[0], tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def test_every_cell_is_there_and_nothing_that_is_large(unbroken: tuple[Path, Result]) -> None:
    folder, _ = unbroken
    found = {(c["arm"]["prune.losses"], c["arm"]["prune.sparsity"], c["seed"]) for c in cells(folder).values()}
    assert found == {
        (loss, sparsity, seed) for loss in ("none", "kld") for sparsity in ("0.9", "0.97") for seed in (0, 1)
    }
    for content in cells(folder).values():
        assert content["sparsity"] == pytest.approx(float(content["arm"]["prune.sparsity"]), abs=1e-3)
        assert content["settings"]["prune"]["losses"][0]["name"] == content["arm"]["prune.losses"]
        assert content["curve"]["sparsity"][-1]["sparsity"] == content["sparsity"]
        assert content["curve"]["dev"][-1]["dev"] == content["dev"]["pruned"]
        assert content["evaluated"]["agreement"] == pytest.approx(1 - content["evaluated"]["flips"] / 80)
        assert str(folder) not in json.dumps(content)
    names = {entry.name for entry in (folder / "out").iterdir()}
    assert names - {".lock"} == {"cells", "study.json", "study.md", "metric.svg"}


def test_the_teacher_is_trained_once_a_seed(unbroken: tuple[Path, Result]) -> None:
    folder, result = unbroken
    assert (ran(result, "finetune"), ran(result, "prune"), ran(result, "evaluate")) == (2, 8, 8)
    # kld asks the teacher once a seed, too: the second time its words are in the cache.
    by_seed = {seed: {c["teacher"] for c in cells(folder).values() if c["seed"] == seed} for seed in (0, 1)}
    assert [len(teachers) for teachers in by_seed.values()] == [1, 1]
    assert by_seed[0] != by_seed[1]
    assert re.search(r"cell 8/8, about \d+ s left: prune.losses=kld, prune.sparsity=0.97, seed 1", result.stderr)


def test_the_table_has_the_results_of_the_cells(unbroken: tuple[Path, Result]) -> None:
    folder, result = unbroken
    table = json.loads((folder / "out/study.json").read_text())
    text = (folder / "out/study.md").read_text()
    assert len(table["arms"]) == 4
    for split in ("dev", "test"):
        values: dict[tuple[str, ...], list[float]] = {}
        for content in sorted(cells(folder).values(), key=lambda c: c["seed"]):
            values.setdefault(tuple(content["arm"].values()), []).append(content[split]["pruned"])
        for arm in table["arms"]:
            labels = tuple(arm["arm"].values())
            scores, own = arm["splits"][split], values[labels]
            mean, sd = statistics.mean(own), statistics.stdev(own)
            assert scores["pruned"] == {"n": 2, "mean": pytest.approx(mean), "sd": pytest.approx(sd)}
            (line,) = [row for row in text.splitlines() if row.startswith(f"| {' | '.join(labels)} |")]
            assert f"{mean:.4f} ± {sd:.4f}" in line
            assert f"{mean:.4f} ± {sd:.4f}" in result.stdout
            if labels[0] == "none":
                assert scores["difference"] is None
                continue
            differences = [a - b for a, b in zip(own, values["none", labels[1]], strict=True)]
            found = scores["difference"]
            assert found["mean"] == pytest.approx(statistics.mean(differences))
            assert (split == "test") == (f"{found['mean']:+.4f}" in line) or not found["mean"]
            half = stats.t.ppf(0.975, 1) * statistics.stdev(differences) / math.sqrt(2)
            assert found["high"] - found["mean"] == pytest.approx(half)
    assert "over seeds" in text
    plot = (folder / "out/metric.svg").read_text()
    assert plot.startswith("<svg ")
    assert all(f">{label}</text>" in plot for label in ("none", "kld", "dense", "encoder sparsity"))


def test_again_nothing_runs_and_json_is_the_file(unbroken: tuple[Path, Result]) -> None:
    folder, _ = unbroken
    again = study(folder, *GRID, *SHORT, "--json")
    assert again.exit_code == 0
    assert "runs" not in again.stderr
    assert json.loads(again.stdout) == json.loads((folder / "out/study.json").read_text())


def test_a_cell_that_is_gone_is_the_only_one_that_runs(copy: Path) -> None:
    before = cells(copy)
    (gone,) = [key for key, c in before.items() if (*c["arm"].values(), c["seed"]) == ("kld", "0.97", 1)]
    (copy / f"out/cells/{gone}.json").unlink()
    plan = json.loads(study(copy, *GRID, *SHORT, "--dry-run", "--json").stdout)
    assert [cell["key"] for cell in plan["cells"] if not cell["done"]] == [gone]
    assert [cell["steps"] for cell in plan["cells"] if not cell["done"]] == [{"finetune": 60, "prune": 10}]
    assert not (copy / f"out/cells/{gone}.json").exists()
    result = study(copy, *GRID, *SHORT)
    assert (ran(result, "finetune"), ran(result, "prune")) == (1, 1)
    assert {key: outcome(c) for key, c in cells(copy).items()} == {key: outcome(c) for key, c in before.items()}


def test_the_cells_alone_give_the_same_table_in_another_place(copy: Path) -> None:
    before = {name: (copy / "out" / name).read_text() for name in ("study.json", "study.md", "metric.svg")}
    shutil.move(copy / "out/cells", copy / "cells")
    shutil.rmtree(copy / "out")
    (copy / "out").mkdir()
    shutil.move(copy / "cells", copy / "out/cells")
    result = study(copy, *GRID, *SHORT)
    assert result.exit_code == 0
    assert "runs" not in result.stderr
    assert {name: (copy / "out" / name).read_text() for name in before} == before


def stopped(folder: Path, at: str, *options: str, after: int = 0) -> tuple[int, str]:
    """Start a study, send SIGTERM when so many cells are finished and a file of that pattern is there.

    Returns:
        exit code and stderr.
    """
    command = [sys.executable, "-m", "sdp", "study", "toy.toml", *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=folder, env=ONE_THREAD, stdout=pipe, stderr=pipe, text=True)
    try:
        for _ in range(6000):
            if len(cells(folder)) >= after and any(folder.glob(at)):
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.mark.slow
def test_a_study_stopped_in_the_middle_ends_like_an_unbroken_one(
    unbroken: tuple[Path, Result], tmp_path: Path, toy_model: Path
) -> None:
    project(tmp_path, toy_model)
    options = [*PART, *SHORT, "--set", "runtime.checkpoint_seconds=0"]
    # The teacher is at work, and nothing is finished.
    code, errors = stopped(tmp_path, "out/teachers/*/1-finetune.partial/checkpoints/*/complete.json", *options)
    assert code == 143, errors
    assert "The same command resumes" in errors
    assert cells(tmp_path) == {}
    assert "2 of 2 cells are not finished" in (tmp_path / "out/study.md").read_text()
    # The other cell is at work, and has updated its masks.
    at = "out/runs/*/2-prune.partial/checkpoints/checkpoint-[3-9]/complete.json"
    code, errors = stopped(tmp_path, at, *options, after=1)
    assert code == 143, errors
    assert errors.count("resuming fine-tuning from step") == 1
    assert "The same command resumes" in errors
    assert len(cells(tmp_path)) == 1
    assert "1 of 2 cells are not finished" in (tmp_path / "out/study.md").read_text()

    result = study(tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("resuming pruning from step") == 1
    expected = {key: outcome(content) for key, content in cells(unbroken[0]).items()}
    found = {key: outcome(content) for key, content in cells(tmp_path).items()}
    assert len(found) == 2
    assert found == {key: expected[key] for key in found}


@pytest.mark.slow  # the stop while training is tested by default
def test_a_study_ends_where_nothing_is_trained_too(copy: Path) -> None:
    """SIGTERM while intervals are resampled: the process ends, and what it has is written."""
    options = [*PART, *SHORT, "--set", "finetune.epochs=1", "--set", "evaluate.resamples=300000"]
    code, errors = stopped(copy, "out/runs/*/3-evaluate.partial", *options)
    assert code == 143, errors
    assert "Traceback" not in errors
    assert "the same command goes on" in errors
    assert "2 of 2 cells are not finished" in (copy / "out/study.md").read_text()


def test_a_cell_that_fails_is_reported_and_the_others_go_on(copy: Path) -> None:
    # An infinite weight makes the loss no number.
    grid = ["--vary", "prune.losses=none,cross-correlation:1e39", "--seeds", "1", "--out", "out", *SHORT]
    grid += ["--set", "prune.sparsity=0.9", "--keep-models"]
    first, second = study(copy, *grid), study(copy, *grid)
    for result in (first, second):
        assert result.exit_code == 1
        assert "failed: prune.losses=cross-correlation:1e39, seed 0:" in result.stdout
        assert "Traceback" not in result.output
        assert ran(result, "prune") == 1
    table = json.loads((copy / "out/study.json").read_text())
    assert [arm["splits"].keys() for arm in table["arms"]] == [{"dev", "test"}, set()]
    assert table["failed"][0]["cell"] == "prune.losses=cross-correlation:1e39, seed 0"
    assert "1 of 2 cells" in table["remarks"][-1]


def test_a_teacher_that_fails_is_trained_once(tmp_path: Path, toy_model: Path) -> None:
    project(tmp_path, toy_model)
    (tmp_path / "dev.tsv").write_text("sentence\tlabel\ngood\tunheard of\n")
    result = study(tmp_path, "--vary", "prune.losses=none,kld", "--seeds", "1", "--out", "out", *SHORT)
    assert result.exit_code == 1
    assert (ran(result, "finetune"), ran(result, "prune")) == (1, 0)
    failed = json.loads((tmp_path / "out/study.json").read_text())["failed"]
    assert [cell["cell"] for cell in failed] == ["prune.losses=none, seed 0", "prune.losses=kld, seed 0"]
    assert all("unheard of" in cell["message"] for cell in failed)
    assert not (tmp_path / "out/metric.svg").exists()


def test_models_are_kept_where_asked(tmp_path: Path, toy_model: Path) -> None:
    project(tmp_path, toy_model)
    result = study(tmp_path, "--seeds", "1", "--out", "out", "--keep-models", *SHORT)
    assert result.exit_code == 0, result.output
    (key,) = cells(tmp_path)
    run = tmp_path / "out/runs" / key
    assert {"1-finetune", "2-prune", "3-evaluate", "cache"} <= {entry.name for entry in run.iterdir()}
    (teacher,) = (tmp_path / "out/teachers").iterdir()
    model = "1-finetune/model.safetensors"
    assert (run / model).stat().st_ino == (teacher / model).stat().st_ino
    assert {path.name for path in (run / "cache").iterdir()} == {path.name for path in (teacher / "cache").iterdir()}
    assert [path.name for path in (run / "cache").iterdir()]
    # It is a run folder like any other.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        again = CliRunner().invoke(app, ["evaluate", str(run)])
    assert again.exit_code == 0, again.output
    assert again.stderr.count("up to date") == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vary", "prune.sparsity=0.5,2.0"], "prune.sparsity=2.0"),
        (["--vary", "prune.sparsity"], "form KEY=V1,V2"),
        (["--vary", "prune.sparsity=0.5,0.6", "--baseline", "prune.sparsity=0.7"], "One of 0.5, 0.6"),
        (["--seeds", "0"], "Invalid value"),
        (["--out", "."], "is no study"),
    ],
)
def test_wrong_usage_is_an_error_before_anything_runs(
    options: list[str], message: str, tmp_path: Path, toy_model: Path
) -> None:
    project(tmp_path, toy_model)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    result = study(tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
