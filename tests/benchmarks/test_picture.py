"""benchmarks/studies/picture.py: its points are recipes that load; a tiny run, its measurement, table and plot."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import picture
import picture_draw
from languages import LANGUAGES
from picture_measure import AGAIN, summarize, take_turns
from picture_peers import has_openvino
from picture_points import (
    COMBINED,
    DENSE,
    LAYERS,
    SPARSITIES,
    SPEEDUPS,
    TASKS,
    ZEROS_IN_LAYERS,
    point_settings,
    points_of,
    recipe_file,
)
from sdp.recipe.load import load_recipe
from sdp_onnx.operators.library import has_library
from support.toy import toy_rows

IN_FP32 = ("unstructured", "structured, fp32", "fewer layers, fp32")


def write_rows(path: Path, rows: int, seed: int) -> None:
    """A file as the tasks have it: sentence1, sentence2, label."""
    lines = [f"{text}\t{text}\t{int(label == 'pos')}\n" for text, label in toy_rows(rows, seed)]
    path.write_bytes(gzip.compress(f"sentence1\tsentence2\tlabel\n{''.join(lines)}".encode()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of data, with SST-2's files in it."""
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    for seed, (name, rows) in enumerate((("train_sentences", 160), ("dev", 40), ("test", 60))):
        write_rows(folder / f"{name}.tsv.gz", rows, seed)
    return tmp_path / "data"


@pytest.mark.parametrize("task", TASKS)
def test_the_points_are_these(task: str) -> None:
    points = points_of(task)
    names = [point.name for point in points]
    pairs = len(SPARSITIES) + len(LAYERS[task])
    others = 1 + len(SPEEDUPS) + len(COMBINED) + 2 * len(ZEROS_IN_LAYERS)
    assert len(set(names)) == len(names) == 2 * pairs + others
    assert [name for name in names if name.startswith("1x4")] == ["1x4-50", "1x4-70", "1x4-80", "1x4-90", "1x4-95"]
    # A point comes after the one whose stages it takes, and after the one whose network it prunes further.
    places = {name: place for place, name in enumerate(names)}
    for point in points:
        assert all(places[other] < places[point.name] for other in (point.source, point.start) if other is not None)


@pytest.mark.parametrize("task", TASKS)
def test_the_points_are_recipes_that_load(task: str, tmp_path: Path) -> None:
    losses = load_recipe(recipe_file(task)).prune.losses
    for point in points_of(task):
        settings = point_settings(point, task, tmp_path / "data", "/model", 700, tmp_path)
        recipe = load_recipe(recipe_file(task), settings)
        assert recipe.prune.steps == (0 if point is DENSE else 700)
        assert recipe.export.precision == ("fp32" if point.family in IN_FP32 else "int8")
        assert recipe.model.name == "/model"
        named = re.match(r"layers-(\d)", point.name)
        assert recipe.prune.layers == (int(named[1]) if named else None)
        if point.family == "structured, fp32":
            assert recipe.prune.structured
            assert recipe.prune.target_speedup == float(point.title.rstrip("x"))
        else:
            zeros = float(point.title.split()[-1].rstrip("%")) / 100 if point.title.endswith("%") else 0
            assert recipe.prune.sparsity == zeros
        if point.family == "structured and 1x4":
            speedup, _ = point.title.split("x, ")
            assert recipe.prune.start == str(tmp_path / f"structured-{speedup}x" / "2-prune")
        assert recipe.prune.losses == losses
        if task in LANGUAGES:
            assert recipe.task.eval_languages == LANGUAGES[task]


class Steady:
    """An engine that always takes as long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked: list[tuple[int, int, int]] = []

    def turn(self, case: int, first: int, runs: int) -> list[float]:
        self.asked.append((case, first, runs))
        return [self.seconds] * runs


def test_each_round_runs_the_whole_sample_in_every_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picture_measure.PAUSE_SECONDS", 0)
    engines = {"slow": Steady(0.004), "fast": Steady(0.001), AGAIN: Steady(0.004)}
    starts = [take_turns(engines, texts=5, rounds=3, seed=seed) for seed in range(2)]
    assert all(engine.asked == [(0, 0, 5)] * 6 for engine in engines.values())
    measured = summarize("slow", starts)
    assert measured.files["fast"].p50_ms == pytest.approx(1)
    speedup = measured.files["fast"].speedup
    assert (speedup.low, speedup.value, speedup.high) == pytest.approx((4, 4, 4))
    assert list(measured.files) == ["slow", "fast"]
    assert measured.files["slow"].speedup.value == 1
    assert measured.quiet


def test_a_machine_that_is_not_quiet_is_noticed() -> None:
    turns = {"a": [[0.001]] * 4, AGAIN: [[0.0012]] * 4}
    assert not summarize("a", [turns]).quiet


def entry(name: str, family: str, title: str, p50: float, *scores: float | None) -> dict[str, Any]:
    """An entry of the JSON, with a score for each place."""
    places = ("en", "zero-shot average") if len(scores) == 2 else ("test",)
    return {
        "name": name,
        "family": family,
        "title": title,
        "bytes": 2_000_000,
        "p50_ms": p50,
        "speedup": {"value": 4 / p50, "low": 3.9 / p50, "high": 4.1 / p50},
        "scores": {
            place: {"value": score, "low": score and score - 0.01, "high": score and score + 0.01}
            for place, score in zip(places, scores, strict=True)
        },
    }


def content(*entries: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a measurement."""
    return {
        "task": "xnli",
        "model": "tiny",
        "metric": "accuracy",
        "date": "2026-01-02T03:04:05+00:00",
        "environment": {"cpu": "a processor", "logical_cores": 2},
        "threads": 2,
        "quiet": True,
        "entries": list(entries),
    }


def test_the_table_goes_from_slow_to_fast() -> None:
    found = content(
        entry("1x4-90", "1x4", "90%", 1.0, 0.8),
        entry("ort-fp32", "peer", "onnxruntime fp32", 4.0, 0.9),
        entry("dense-int8", "dense", "dense int8", 2.0, None),
    )
    head, _, *lines = picture_draw.markdown(found).splitlines()
    assert "a processor, 2 cores, 2026-01-02." in head
    assert lines[2:] == [
        "| onnxruntime fp32 | 4.00 | 1.00 [0.97, 1.02] | 0.900 [0.890, 0.910] | 2 |",
        "| sdp dense int8 | 2.00 | 2.00 [1.95, 2.05] | undefined | 2 |",
        "| sdp int8, zeros in 1x4 blocks: 90% | 1.00 | 4.00 [3.90, 4.10] | 0.800 [0.790, 0.810] | 2 |",
    ]
    assert "not quiet" in picture_draw.markdown({**found, "quiet": False})


def test_the_picture_names_each_point_in_each_panel() -> None:
    found = content(
        entry("ort-fp32", "peer", "onnxruntime fp32", 4.0, 0.9, 0.7),
        entry("1x4-90", "1x4", "90%", 1.0, 0.8, 0.6),
        entry("layers-2", "fewer layers, fp32", "2 layers", 1.5, 0.7, None),
    )
    svg = picture_draw.draw(found)
    assert svg.count(">onnxruntime fp32<") == svg.count(">90%<") == 2
    assert svg.count(">2 layers<") == 1
    assert "zero-shot average" in svg
    assert svg == picture_draw.draw(found)


def command(*arguments: str | Path) -> None:
    done = CliRunner().invoke(picture.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output


@pytest.mark.slow
@pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")
def test_a_run_and_its_measurement(data: Path, toy_model: Path, tmp_path: Path) -> None:
    runs, results = tmp_path / "runs", tmp_path / "results"
    short = ("data.max_length=32", "finetune.epochs=1", "runtime.preflight=false", "evaluate.resamples=100")
    short += ('finetune.precision="fp32"', 'prune.precision="fp32"')
    settings = [word for setting in short for word in ("--set", setting)]
    chosen = ("1x4-50", "structured-2x", "structured-2x-1x4-80", "layers-1", "layers-1-int8")
    points = [word for name in chosen for word in ("--point", name)]
    arguments = ("run", "--data", data, "--runs", runs, "--model", toy_model, "--steps", "3", *points, *settings)
    command(*arguments)

    metrics = {name: json.loads((runs / "sst2" / name / "2-prune/metrics.json").read_text()) for name in chosen}
    assert metrics["layers-1"]["sparsity"] == 0.5
    assert max(record["step"] for record in metrics["layers-1"]["log"]) == 3
    assert metrics["1x4-50"]["sparsity"] == pytest.approx(0.5, abs=0.01)
    # What was removed counts as well.
    assert metrics["structured-2x-1x4-80"]["sparsity"] > 0.8
    assert (runs / "sst2" / "structured-2x-1x4-80" / "2-prune" / "kept_units.json").exists()
    # What was trained once is shared.
    shared = [("1x4-50", DENSE.name, "1-finetune"), ("layers-1-int8", "layers-1", "2-prune")]
    for own, source, stage in shared:
        first, second = (runs / "sst2" / name / stage / "model.safetensors" for name in (own, source))
        assert first.samefile(second)
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*/stage.json")}
    command(*arguments)
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*/stage.json")} == before

    command("measure", "--runs", runs, "--texts", "4", "--rounds", "2", "--starts", "1", "--results", results)
    found = json.loads((results / "sst2.json").read_text())
    entries = {own["name"]: own for own in found["entries"]}
    others = ["ort-int8", "openvino-int8"][: 1 + has_openvino()]
    structured = ["structured-2x-int8", *(f"structured-2x-{other}" for other in others)]
    assert list(entries) == ["ort-fp32", *others, *structured, DENSE.name, *chosen]
    assert found["left_out"] == ([] if has_openvino() else ["openvino-int8"])
    stored = json.loads((runs / "sst2" / "1x4-50" / "4-export/metrics.json").read_text())
    assert entries["1x4-50"]["scores"] == {"test": stored["models"]["exported"]}
    # The dense file scores as the dense network does.
    assert entries["ort-fp32"]["scores"]["test"]["value"] == pytest.approx(stored["models"]["dense"]["value"])
    assert all(own["p50_ms"] > 0 for own in entries.values())
    command("table", "--results", results)
    command("plot", "--results", results)
    assert (results / "sst2.svg").read_text().startswith("<svg")


def test_unknown_names_are_reported(tmp_path: Path) -> None:
    places = ["--data", str(tmp_path), "--runs", str(tmp_path)]
    for name in ("--task", "--point"):
        done = CliRunner().invoke(picture.app, ["run", *places, name, "rte"])
        assert done.exit_code == 2
        assert "rte" in done.stderr
    unfinished = CliRunner().invoke(picture.app, ["measure", "--runs", str(tmp_path)])
    assert unfinished.exit_code == 2
    # The path may be broken over two lines of the box.
    assert DENSE.name in re.sub(r"[\s│]", "", unfinished.stderr)
