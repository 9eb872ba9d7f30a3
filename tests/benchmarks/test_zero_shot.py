"""benchmarks/studies/zero_shot.py: its commands are recipes that load, and its table is compare()'s."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import zero_shot
from sdp.cli.main import app as sdp
from sdp.data.rows import Split
from sdp.evaluation.compare import compare
from sdp.recipe.benchmark_tasks import TASKS


@pytest.mark.parametrize("task", zero_shot.LANGUAGES)
def test_the_command_is_a_recipe_that_loads(task: str, tmp_path: Path, toy_model: Path) -> None:
    languages = zero_shot.LANGUAGES[task]
    assert set(TASKS[task].languages) <= set(languages)
    (tmp_path / task).mkdir()
    for name in ("train.en", *(f"{split}.{language}" for split in ("dev", "test") for language in languages)):
        row = f"a film\tthe plot\t{TASKS[task].labels[0]}\n"
        text = "sentence1\tsentence2\tlabel\n" + row * (9000 if name == "train.en" else 2)
        (tmp_path / task / f"{name}.tsv.gz").write_bytes(gzip.compress(text.encode()))
    stage, *options = zero_shot.evaluate_command(task, tmp_path, str(toy_model), tmp_path / "run")
    assert stage == "evaluate"
    # The toy model has few positions.
    short = ("--set", "data.max_length=64", "--set", "bench.sequence_lengths=[32]")
    done = CliRunner().invoke(sdp, ["check", *options, *short, "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["unknown"] == []
    assert plan["rows"] == {"train": 8000, "dev": 2 * len(languages), "test": 2 * len(languages)}
    assert plan["optimizer_steps"] == {"finetune": 750, "prune": 1000}
    assert plan["settings"]["task"]["train_languages"] == ["en"]
    assert not (tmp_path / "run").exists()


def test_the_table_has_a_line_for_each_language_and_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros(60, dtype=np.int64)
    split = Split("test", (("t", "u"),) * 60, labels, ("de",) * 20 + ("en",) * 20 + ("fr",) * 20)
    dense = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (60, 1))
    pruned = dense.copy()
    # Ten of German and five of French are lost.
    pruned[[*range(10), *range(40, 45)]] = [0.0, 1.0]
    models = ("dense", dense), ("pruned", pruned)
    metrics = compare("accuracy", split, *models, resamples=200, seed=0, part="language", trained=("en",))
    monkeypatch.setattr(zero_shot, "RESULTS", tmp_path)
    content = {"task": "pawsx", "model": "tiny", "date": "2026-01-02T03:04:05+00:00", "metrics": metrics.to_json()}
    zero_shot.result_file("pawsx").write_text(json.dumps(content))
    head, _, *table = CliRunner().invoke(zero_shot.app, ["table"]).stdout.splitlines()
    assert head == "pawsx, tiny, accuracy on test, 2026-01-02"
    assert [" | ".join(line.split(" | ")[:4]) for line in table[2:7]] == [
        "| de | 1.000 | 0.500 | +0.500",
        "| en | 1.000 | 1.000 | +0.000",
        "| fr | 1.000 | 0.750 | +0.250",
        "| average, all | 1.000 | 0.750 | +0.250",
        "| average, zero-shot | 1.000 | 0.625 | +0.375",
    ]
    assert table[3] == "| en | 1.000 | 1.000 | +0.000 | +0.000 to +0.000 |"


def test_a_task_that_it_has_not_is_reported(tmp_path: Path) -> None:
    done = CliRunner().invoke(zero_shot.app, ["run", "--data", str(tmp_path), "--task", "mnli"])
    assert done.exit_code == 2
    assert "mnli" in done.stderr
