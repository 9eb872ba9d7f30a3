"""`sdp compare` on a finished run and its copy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app


@pytest.fixture(scope="module")
def runs(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run "main", its copy "branch", and "worse", whose exported model predicts neg for every row."""
    project = tmp_path_factory.mktemp("compare") / "project"
    shutil.copytree(finished, project, symlinks=True)
    folder = project / "runs"
    (folder / "toy").rename(folder / "main")
    for name in ("branch", "worse"):
        shutil.copytree(folder / "main", folder / name)
    path = folder / "worse" / "4-export" / "rows.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**rows, "predicted": [0] * len(rows["predicted"])}), encoding="utf-8")
    return folder


def compare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def rows_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return {row["what"]: row for row in json.loads(result.stdout)["rows"]}


def test_a_copy_is_no_worse(runs: Path) -> None:
    rows = rows_of(compare(runs / "main", runs / "branch", "--json", "--fail-on-regression"))
    metrics = json.loads((runs / "main/4-export/metrics.json").read_text())
    accuracy = rows["accuracy on dev"]
    assert accuracy["before"] == accuracy["after"] == pytest.approx(metrics["models"]["exported"]["value"])
    assert accuracy["how"].startswith("paired: the same 60 rows; mcnemar")
    assert (rows["file, MB"]["change"], rows["file, MB"]["outcome"]) == (1, "no difference")
    assert all(row["outcome"] in ("no difference", "not compared") for row in rows.values())


def test_a_worse_one_fails_only_where_it_is_asked_to(runs: Path) -> None:
    shown = compare(runs / "main", runs / "worse", "--markdown")
    assert shown.exit_code == 0
    assert "worse in accuracy on dev" in shown.stdout.splitlines()[0]
    assert "| accuracy on dev | " in shown.stdout
    assert compare(runs / "main", runs / "worse", "--fail-on-regression").exit_code == 1
    assert compare(runs / "worse", runs / "main", "--fail-on-regression").exit_code == 0


def test_a_saved_baseline_replaces_the_run(runs: Path) -> None:
    saved = runs / "baselines" / "main.json"
    assert compare(runs / "main", "--save", saved).exit_code == 0
    assert saved.stat().st_size < 20_000
    assert "film" not in saved.read_text(encoding="utf-8")
    rows, direct = (rows_of(compare(first, runs / "worse", "--json")) for first in (saved, runs / "main"))
    assert rows == direct


def test_both_files_are_measured_in_turns(runs: Path) -> None:
    rows = rows_of(compare(runs / "main", runs / "branch", "--json", "--measure", "--quiet"))
    times = [row for what, row in rows.items() if what.startswith("p50 at ")]
    assert len(times) == 2
    for row in times:
        assert "in turns" in row["how"]
        assert row["low"] <= row["change"] <= row["high"]
        # The same file: anything else would be a mix-up.
        assert row["outcome"] == "no difference"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["main"], "two runs, or one and --save"),
        (["main", "none"], "neither a run folder nor a saved baseline"),
        (["main", "."], "no run folder"),
        (["main", "empty"], "the run has no 4-export/metrics.json"),
        (["main", "old"], "latency.json: written by another version of sdp: "),
        (["main", "cut.json"], "cut.json: written by another version of sdp: metric: field required"),
        (["main", "later.json"], "later.json: written by another version of sdp: snapshot: 2 is not the form of this"),
        (["saved.json", "main", "--measure"], "saved.json has none"),
        (["main", "saved.json", "--measure"], "saved.json has none"),
        (["main", "trimmed", "--measure"], "and 7 pieces: the same token ids would mean different texts"),
    ],
)
def test_mistakes_get_one_message(runs: Path, arguments: list[str], message: str) -> None:
    (runs / "empty").mkdir(exist_ok=True)
    (runs / "empty" / "run.json").write_text('{"recipe": "x", "file": "x", "overrides": []}')
    (runs / "cut.json").write_text('{"snapshot": 1, "recipe": "x"}')
    (runs / "later.json").write_text('{"snapshot": 2, "recipe": "x", "metric": 3}')
    if not (runs / "old").exists():
        shutil.copytree(runs / "main", runs / "old")
        (runs / "old" / "5-bench" / "latency.json").write_text("{}")
    if not (runs / "trimmed").exists():
        shutil.copytree(runs / "main", runs / "trimmed")
        config = runs / "trimmed" / "4-export" / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text(encoding="utf-8")), "vocab_size": 7}))
    compare(runs / "main", "--save", runs / "saved.json")
    result = compare(*(text if text.startswith("--") else runs / text for text in arguments))
    assert result.exit_code == 2
    assert message in result.output
