"""The stored files of a real run: read as models and written again as they were; other files are refused by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from sdp.errors import RunError
from sdp.pipeline.artifacts import analysis, comparison, latency, pruning, rows, training, verdict, vocabulary
from sdp.pipeline.artifacts.base import Artifact
from sdp.pipeline.artifacts.intervals import Score
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import RunFolder
from sdp_onnx.bench.interval import Interval, Undefined

MODULES = (analysis, comparison, latency, pruning, rows, training, verdict, vocabulary)
KINDS = {
    kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Artifact) and hasattr(kind, "FILE")
}
# A plain run trims no vocabulary, and its gate measures nothing again.
MISSING = {vocabulary.VocabularyReport, vocabulary.KeptPieces, verdict.Measurements}


@pytest.fixture
def run(finished: Path) -> RunFolder:
    return RunFolder(finished / "runs/toy")


@pytest.mark.parametrize("kind", sorted(KINDS - MISSING, key=lambda kind: kind.name()))
def test_a_file_is_read_and_written_again_as_it_was(kind: type[Artifact], run: RunFolder, tmp_path: Path) -> None:
    found = kind.load(run)
    found.store(tmp_path)
    before, after = kind.path(run).read_text(encoding="utf-8"), (tmp_path / kind.FILE).read_text(encoding="utf-8")
    assert json.loads(after) == json.loads(before)
    # Keys stay in their order.
    assert re.findall('"[a-z_]+":', after) == re.findall('"[a-z_]+":', before)
    with pytest.raises(ValueError, match="frozen"):
        setattr(found, next(iter(kind.model_fields)), None)


def test_every_file_of_a_stage_has_one_model(run: RunFolder) -> None:
    names = [kind.name() for kind in KINDS]
    assert len(set(names)) == len(names)
    stored = {str(path.relative_to(run.path)) for path in run.path.glob("[0-6]-*/*.json")}
    of_libraries = {"config.json", "tokenizer.json", "tokenizer_config.json", "manifest.json", "stage.json"}
    assert {name for name in stored if Path(name).name not in of_libraries} == {kind.name() for kind in KINDS - MISSING}


def test_every_mask_update_is_a_line(run: RunFolder) -> None:
    lines = (run.path / "2-prune/pruning.jsonl").read_text(encoding="utf-8").splitlines()
    updates = [pruning.MaskUpdate.parse(line, "pruning.jsonl") for line in lines]
    assert [update.to_json() for update in updates] == [json.loads(line) for line in lines]
    assert updates[-1].sparsity == pruning.PruneMetrics.load(run).sparsity


@pytest.mark.parametrize("score", [Interval(0.5, 0.25, 0.75), Interval.exact(2.0), Undefined("no row is positive")])
def test_the_json_of_an_interval_is_read_back(score: Interval | Undefined) -> None:
    adapter: TypeAdapter[Interval | Undefined] = TypeAdapter(Score)
    assert adapter.validate_json(json.dumps(score.to_json())) == score
    assert adapter.dump_python(score) == score.to_json()


@pytest.mark.parametrize("kind", sorted(MISSING, key=lambda kind: kind.name()))
def test_a_file_that_the_run_has_not(kind: type[Artifact], run: RunFolder) -> None:
    assert kind.find(run) is None
    with pytest.raises(RunError, match=f"the run has no {kind.name()}") as caught:
        kind.load(run)
    assert caught.value.hint == f"Make it: sdp {kind.STAGE} {run.path}"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished / "runs/toy/5-bench", tmp_path / "5-bench")
    return RunFolder(tmp_path)


def change(run: RunFolder, **changes: object) -> None:
    path = latency.BenchLatency.path(run)
    path.write_text(json.dumps({**(read_json(path) or {}), **changes}))


def test_a_file_of_another_version_is_reported_as_that(copy: RunFolder) -> None:
    change(copy, energy_joules=3.0)
    with pytest.raises(RunError) as caught:
        latency.BenchLatency.load(copy)
    path = copy.path / "5-bench"
    assert caught.value.what == ("written by another version of sdp: energy_joules: extra inputs are not permitted")
    assert caught.value.where == str(path / "latency.json")
    assert caught.value.hint == f"Make it again: rm -r {path} && sdp bench {copy.path}"


def test_a_damaged_value_is_not_called_another_version(copy: RunFolder) -> None:
    change(copy, quiet="yes", energy_joules=3.0)
    with pytest.raises(RunError) as caught:
        latency.BenchLatency.load(copy)
    assert caught.value.what.startswith("damaged: quiet: input should be a valid boolean; energy_joules")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, '{"a":' * 100_000, "1" * 10_000])
def test_what_is_no_such_json_is_damaged(text: str, copy: RunFolder) -> None:
    latency.BenchLatency.path(copy).write_text(text)
    with pytest.raises(RunError) as caught:
        latency.BenchLatency.load(copy)
    assert caught.value.what.startswith("damaged: ")


def test_what_cannot_be_read_is_an_error_and_not_missing(copy: RunFolder) -> None:
    path = latency.BenchLatency.path(copy)
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        latency.BenchLatency.find(copy)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(RunError, match="cannot be read"):
        latency.BenchLatency.find(copy)
