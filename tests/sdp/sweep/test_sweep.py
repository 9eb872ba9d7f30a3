"""Sweeps of a tiny model through the real command line: what runs, what is shared and left, what survives a kill."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.sweep.artifacts import FrontierReport
from support.toy import ONE_THREAD, toy_rows, write_project, write_tsv

LEVELS = ["--sparsity", "0.8,0.9", "--out", "sweep"]


def command(folder: Path, *arguments: str) -> Result:
    """Run `sdp` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, list(arguments))


def ran(result: Result) -> list[str]:
    """The stages that ran, in order."""
    return re.findall(r"^(\w+) +runs", result.stderr, re.MULTILINE)


def pruned(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Masks and weights of a run."""
    return load_file(run / "2-prune/masks.safetensors"), load_file(run / "2-prune/model.safetensors")


def killed_in_the_second_level(folder: Path) -> None:
    """Start a sweep, and kill it when the second level has written a checkpoint in its ramp."""
    checkpoints = "--set", "runtime.checkpoint_seconds=0"
    words = [sys.executable, "-m", "sdp", "sweep", "toy.toml", *LEVELS, *checkpoints]
    process = subprocess.Popen(words, cwd=folder, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(6000):
            if any(folder.glob("sweep/sparsity-0.90/2-prune.partial/checkpoints/checkpoint-1*/complete.json")):
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> tuple[Path, Result]:
    """A sweep whose first level is a plain run, killed in the second level and started again; copy before changing."""
    folder = tmp_path_factory.mktemp("sweep") / "project"
    shutil.copytree(finished, folder, symlinks=True)
    (folder / "sweep").mkdir()
    (folder / "sweep/frontier.json").write_text("{}")
    shutil.move(folder / "runs/toy", folder / "sweep/sparsity-0.80")
    killed_in_the_second_level(folder)
    assert not (folder / "sweep/sparsity-0.90/2-prune").exists()
    result = command(folder, "sweep", "toy.toml", *LEVELS)
    assert result.exit_code == 0, result.output
    return folder, result


def test_the_first_level_is_a_plain_run_and_the_next_goes_on(swept: tuple[Path, Result]) -> None:
    folder, result = swept
    # Everything that the first level's stages are made from is what `sdp run` made them from.
    assert result.stderr.count("up to date") == 7 + 1
    assert ran(result) == ["prune", "evaluate", "export", "bench", "gate", "report"]
    assert "resuming pruning from step" in result.stderr
    first, second = (folder / "sweep" / name for name in ("sparsity-0.80", "sparsity-0.90"))
    assert (second / "1-finetune/model.safetensors").samefile(first / "1-finetune/model.safetensors")
    (before, _), (after, weights) = pruned(first), pruned(second)
    for name, mask in after.items():
        assert not (mask.bool() & ~before[name].bool()).any(), "a pruned weight came back"
        # Each matrix to the weight, as scope = "layer" has it.
        assert int(mask.sum()) == mask.numel() - round(0.9 * mask.numel())
        assert not weights[name][~mask.bool()].any()
    updates = [json.loads(line) for line in (second / "2-prune/pruning.jsonl").read_text().splitlines()]
    assert [update["wanted"] for update in updates] == sorted(update["wanted"] for update in updates)
    assert 0.8 < updates[0]["wanted"] < 0.9
    assert updates[-1]["wanted"] == 0.9
    # The analysis compares with the fine-tuned network, not with the one before.
    teachers = [json.loads((run / "2-prune/analysis.json").read_text())["teacher"] for run in (first, second)]
    assert teachers[0] == teachers[1]


def test_a_killed_sweep_ends_like_an_unbroken_one(swept: tuple[Path, Result], tmp_path: Path) -> None:
    shutil.copytree(swept[0], tmp_path / "copy", symlinks=True)
    folder = tmp_path / "copy"
    start = f'prune.start="{folder / "sweep/sparsity-0.80/2-prune"}"'
    shutil.copytree(folder / "sweep/sparsity-0.80", folder / "runs/unbroken")
    unbroken = command(
        folder, "prune", "toy.toml", "--run-dir", "runs/unbroken", "--set", start, "--set", "prune.sparsity=0.9"
    )
    assert ran(unbroken) == ["prune"]
    assert "resuming" not in unbroken.stderr
    (masks, weights), (expected_masks, expected) = (
        pruned(folder / "sweep/sparsity-0.90"),
        pruned(folder / "runs/unbroken"),
    )
    assert all(masks[name].equal(mask) for name, mask in expected_masks.items())
    assert all(weights[name].equal(weight) for name, weight in expected.items())


def test_the_frontier_has_the_results_of_the_levels(swept: tuple[Path, Result]) -> None:
    folder, result = swept
    content = json.loads((folder / "sweep/frontier.json").read_text())
    report = FrontierReport.read(folder / "sweep/frontier.json")
    assert report is not None
    assert json.loads(json.dumps(report.to_json())) == content
    assert [level["sparsity"] for level in content["levels"]] == [0.8, 0.9]
    for level in content["levels"]:
        run = folder / "sweep" / level["folder"]
        exported = json.loads((run / "4-export/metrics.json").read_text())
        bench = json.loads((run / "5-bench/latency.json").read_text())
        assert level["metric"]["value"] == exported["models"]["exported"]["value"]
        assert level["drop"]["high"] == exported["drop"]["high"]
        assert level["bytes"] == (run / "4-export/model.onnx").stat().st_size
        assert level["size_ratio"] == pytest.approx(level["bytes"] / content["dense"]["bytes"], rel=0.01)
        assert [case["speedup"]["low"] for case in level["cases"]] == [
            case["speedup"]["low"] for case in bench["cases"]
        ]
        assert level["verdict"] == json.loads((run / "6-gate/verdict.json").read_text())["verdict"] == "pass"
        assert (run / "report.html").is_file()
    assert (content["chosen"]["sparsity"], content["verdict"], content["exit_code"]) == (0.9, "pass", 0)
    assert "pass, chosen" in result.stdout
    assert "selected among 2" in result.stdout
    assert f"chosen: {folder}/sweep/sparsity-0.90" in result.stdout
    assert "| 0.9 | 90.0% |" in (folder / "sweep/frontier.md").read_text()
    assert (folder / "sweep/frontier.svg").read_text().startswith("<svg ")


def test_again_nothing_runs_and_a_level_is_a_run_like_any_other(swept: tuple[Path, Result]) -> None:
    folder, _ = swept
    plan = json.loads(command(folder, "sweep", "toy.toml", *LEVELS, "--dry-run", "--json").stdout)
    assert [level["done"] for level in plan["levels"]] == [True, True]
    again = command(folder, "sweep", "toy.toml", *LEVELS, "--json", "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert json.loads(again.stdout) == json.loads((folder / "sweep/frontier.json").read_text())
    # From another folder, too.
    gate = command(folder / "sweep", "gate", "sparsity-0.90")
    assert gate.exit_code == 0, gate.output
    assert gate.stderr.count("up to date") == 7
    # Judged by itself it is shipped, as any run is; the sweep alone ships none.
    assert f"shipped: {folder}/sweep/sparsity-0.90/8-ship\n" in gate.stdout
    predicted = command(folder, "predict", "sweep/sparsity-0.90", "a lovely film")
    assert predicted.exit_code == 0
    assert predicted.stdout.split()[0] in ("pos", "neg")


def test_a_gate_that_no_level_passes_fails(swept: tuple[Path, Result], tmp_path: Path) -> None:
    shutil.copytree(swept[0], tmp_path / "copy", symlinks=True)
    result = command(tmp_path / "copy", "sweep", "toy.toml", *LEVELS, "--set", "gate.max_size_ratio=0.01")
    assert result.exit_code == 1
    assert "No level passes the gate. Nearest is 0.9, in sparsity-0.90: size against the dense file is" in result.stdout
    assert "the probability that it is so is 0.00." in result.stdout
    assert "gate: fail" in result.stdout


def test_what_the_first_level_changes_the_others_do_again(swept: tuple[Path, Result], tmp_path: Path) -> None:
    shutil.copytree(swept[0], tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "copy/sweep/sparsity-0.80/2-prune")
    plan = json.loads(command(tmp_path / "copy", "sweep", "toy.toml", *LEVELS, "--dry-run", "--json").stdout)
    assert [level["stages"][0] for level in plan["levels"]] == ["prune", "prune"]
    # The same weights come out again, so that nothing that is made from them has changed. The report tells how long
    # that took, which may be the same, too.
    result = command(tmp_path / "copy", "sweep", "toy.toml", *LEVELS)
    assert ran(result) in (["prune"], ["prune", "report"])


@pytest.mark.slow
def test_the_chosen_level_alone_is_measured_on_test(tmp_path: Path, toy_model: Path) -> None:
    write_project(tmp_path, toy_model)
    write_tsv(tmp_path / "test.tsv", toy_rows(40, seed=3))
    short = ["finetune.epochs=8", "prune.epochs=1", "analysis.rows=0", "bench.seconds=0.05"]
    short += ['bench.sequence_lengths=["task"]', 'data.test="test.tsv"']
    options = [word for setting in short for word in ("--set", setting)]
    result = command(tmp_path, "sweep", "toy.toml", "--sparsity", "0.8", *options)
    assert result.exit_code == 0, result.output
    assert ran(result)[7:] == ["evaluate", "export", "bench", "gate", "report"]
    out = tmp_path / "sweeps/toy"
    splits = {
        name: json.loads((out / name / "3-evaluate/metrics.json").read_text())["split"]
        for name in ("sparsity-0.80", "chosen")
    }
    assert splits == {"sparsity-0.80": "dev", "chosen": "test"}
    content = json.loads((out / "frontier.json").read_text())
    assert [level["split"] for level in content["levels"]] == ["dev"]
    assert (content["chosen"]["split"], content["chosen"]["folder"]) == ("test", "chosen")
    assert "0.8, on test" in result.stdout
    assert f"chosen: {out}/chosen" in result.stdout
    model = "2-prune/model.safetensors"
    assert (out / "chosen" / model).samefile(out / "sparsity-0.80" / model)
