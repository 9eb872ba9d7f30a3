"""Damaged numbers in a run folder: no verdict and no comparison is made of them."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

from sdp.cli.commands.compare import differences
from sdp.cli.commands.selection import select
from sdp.compare.snapshot import load_snapshot, save_snapshot
from sdp.errors import RunError
from sdp.pipeline.artifacts.base import Artifact
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp.pipeline.files import read_json
from sdp.stages.gate import measured_before
from sdp_onnx.bench.interval import Undefined

Change = Callable[[dict[str, Any]], object]

EXPORTED: list[Change] = [
    lambda content: content["drop"].update(value=math.nan),
    lambda content: content["drop"].update(high=-math.inf),
    lambda content: content["drop"].update(low=0.5, high=0.1),
    lambda content: content["drop"].update(value="0.1"),
    lambda content: content["drop"].update(value=None),
    lambda content: content["drop"].update(value=None, low=None, high=None),
    lambda content: content["drop"].update(undefined="for no reason"),
    lambda content: content["constant"]["gain"].update(low=math.nan),
    lambda content: content.pop("constant"),
    lambda content: content["classes"][0]["f1"].pop("drop_of_all"),
    lambda content: content.pop("classes_without_rows"),
    lambda content: content["models"].pop("exported"),
    lambda content: content.update(parts={"de": 3}),
    lambda content: content.update(parts={"de": {"drop": content["drop"]}}),
    lambda content: content.update(metric="beauty"),
    lambda content: content.update(rows=0),
    lambda content: content["torch"].update(same_predictions=1.5),
    lambda content: content["torch"].update(max_relative_error=math.nan),
    lambda content: content.pop("torch"),
]
BENCH: list[Change] = [
    lambda content: content["cases"].clear(),
    lambda content: content["cases"].append(content["cases"][0]),
    lambda content: content["cases"][0].update(starts=[]),
    lambda content: content["cases"][0].update(starts=None),
    lambda content: content["cases"][0].pop("starts"),
    lambda content: content["cases"][0]["starts"][0].update(speedup=-1.0),
    lambda content: content["cases"][0]["starts"][0].update(p50_ms=math.inf),
    lambda content: content["cases"][0]["starts"][0].pop("same_file"),
    lambda content: content["processes"].pop(),
    lambda content: content["processes"].clear(),
    lambda content: content.update(candidate_bytes=0),
    lambda content: content.update(candidate_bytes=10**400),
    lambda content: content.update(baseline_bytes=True),
    lambda content: content.pop("baseline_bytes"),
]
ROWS: list[Change] = [
    lambda content: content["hashes"].pop(),
    lambda content: content["predicted"].pop(),
    lambda content: content["predicted"].__setitem__(0, 10**9),
    lambda content: content["labels"].__setitem__(0, -1),
    lambda content: content["predicted"].__setitem__(0, math.nan),
    lambda content: content["parts"].__setitem__(0, 7),
    lambda content: content["parts"].__setitem__(0, -1),
    lambda content: content.update(part_names=["", ""]),
    lambda content: content.update(words=[10**12] * len(content["hashes"])),
    lambda content: content.update(tags=["O"]),
    lambda content: content.update(hashes=[], parts=[], labels=[], predicted=[]),
]
DAMAGED: dict[type[Artifact], list[Change]] = {ExportMetrics: EXPORTED, BenchLatency: BENCH, ScoredRows: ROWS}


@pytest.mark.parametrize(
    ("kind", "number"), [(kind, number) for kind, changes in DAMAGED.items() for number in range(len(changes))]
)
def test_what_was_never_measured_is_refused(kind: type[Artifact], number: int, finished: Path) -> None:
    content = json.loads((finished / "runs/toy" / kind.name()).read_text())
    kind.parse(json.dumps(content), "file")
    damaged = copy.deepcopy(content)
    DAMAGED[kind][number](damaged)
    with pytest.raises(RunError, match=r"damaged: |written by another version of sdp: ") as caught:
        kind.parse(json.dumps(damaged), "file", "hint")
    assert (caught.value.where, caught.value.hint) == ("file", "hint")


def test_an_undefined_number_with_its_reason_is_one_that_was_measured(finished: Path) -> None:
    content = json.loads((finished / "runs/toy/4-export/metrics.json").read_text())
    nothing = {"value": None, "low": None, "high": None, "undefined": "all labels are of one class"}
    content.update(drop=nothing, models=dict.fromkeys(content["models"], nothing))
    found = ExportMetrics.parse(json.dumps(content), "metrics.json")
    assert found.drop == Undefined("all labels are of one class")


def test_a_comparison_reads_only_what_holds(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished / "runs/toy", run)
    assert load_snapshot(run).metric == "accuracy"
    for damage in ('{"cases": [3]}', '{"cases": 3}'):
        (run / "5-bench/latency.json").write_text(damage)
        with pytest.raises(RunError):
            load_snapshot(run)


def test_a_baseline_without_any_one_of_its_keys_is_compared_or_refused(finished: Path, tmp_path: Path) -> None:
    whole, path = load_snapshot(finished / "runs/toy"), tmp_path / "baseline.json"
    save_snapshot(whole, path)
    content = json.loads(path.read_text())
    refused = 0
    for parent, key in key_paths(content):
        damaged = copy.deepcopy(content)
        reduce(getitem, parent, damaged).pop(key)
        path.write_text(json.dumps(damaged))
        try:
            differences(load_snapshot(path), whole, None)
        except RunError:
            refused += 1
    assert refused > 20


def key_paths(content: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every key in a JSON document, with the place of what holds it; of a list, in its first value."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield place, key
            yield from key_paths(value, (*place, key))
    elif isinstance(content, list) and content:
        yield from key_paths(content[0], (*place, 0))


def test_measurements_that_are_damaged_are_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "measurements.json").write_text('{"benchmark": "b", "looks": [{"seconds": -1}]}')
    assert measured_before(tmp_path, "another") == ()
    with pytest.raises(RunError, match=r"measurements\.json"):
        measured_before(tmp_path, "b")


def test_json_of_any_depth_and_kind_is_read_or_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    assert read_json(path) is None
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    assert read_json(tmp_path / "zero.json") is None


@pytest.mark.parametrize(
    "owner",
    [
        {"file": 3, "overrides": []},
        {"file": "toy.toml", "overrides": "seed=1"},
        {"file": "toy.toml", "overrides": [1]},
        {"file": "a\0b", "overrides": []},
        {"file": "\ud800", "overrides": []},
    ],
)
def test_a_run_that_does_not_tell_its_recipe(owner: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": "toy", **owner}))
    with pytest.raises(RunError, match="no run folder"):
        select(tmp_path, None, None, tmp_path)
