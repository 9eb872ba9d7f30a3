"""benchmarks/studies/study.py: every part is a call of `sdp study` that loads; generated files, nothing is trained."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

import study
from sdp.cli.main import app as sdp

# Arms of each part.
ARMS = {
    **dict.fromkeys(("losses-sst2", "losses-mrpc", "losses-rte"), 5),
    "why-sst2": 30,
    "sparsity-sst2": 9,
    "recovery-sst2": 23,
    **dict.fromkeys(("recovery-mrpc", "recovery-stsb"), 22),
    **dict.fromkeys(("full-sst2", "full-mrpc", "full-rte", "full-cola", "full-stsb"), 24),
}
SEEDS = 2
TRAIN = 2500


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the parts read, all of one pair of columns, TRAIN rows for training and two elsewhere."""
    folder = tmp_path_factory.mktemp("data")
    for task, files in study.FILES.items():
        (folder / task).mkdir()
        for name in {*files, "train.tsv.gz"}:
            row = "a film\tthe plot\t1\na film\tthe actor\t0\n"
            text = "sentence1\tsentence2\tlabel\n" + row * (TRAIN // 2 if name.startswith("train") else 1)
            (folder / task / name).write_bytes(gzip.compress(text.encode()))
    return folder


def test_the_parts_are_these() -> None:
    assert [part.name for part in study.PARTS] == list(ARMS)


@pytest.mark.parametrize("part", study.PARTS, ids=lambda part: part.name)
def test_a_part_is_planned(part: study.Part, data: Path, toy_model: Path) -> None:
    command = [*study.study_command(part, data, SEEDS), "--set", f'model.name="{toy_model}"', "--dry-run", "--json"]
    done = CliRunner().invoke(sdp, command)
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert Path(plan["folder"]) == study.RESULTS / part.name
    assert len(plan["cells"]) == len({cell["key"] for cell in plan["cells"]}) == ARMS[part.name] * SEEDS
    key, _, baseline = part.baseline.partition("=")
    assert f"{key}={baseline}," in plan["cells"][0]["cell"]
    # Every seed fine-tunes once, on the rows that the part is given.
    rows = 2000 if study.SMALL[0] in part.fixed else TRAIN
    epochs = {"sst2": 4, "mrpc": 5, "rte": 6, "cola": 4, "stsb": 4}[part.task]
    steps = [cell["steps"]["finetune"] for cell in plan["cells"]]
    assert sorted(steps)[-SEEDS:] == [epochs * math.ceil(rows / 32)] * SEEDS
    assert sum(map(bool, steps)) == SEEDS


def test_a_part_that_fails_ends_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(study.app, ["run", "losses-rte", "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "$ sdp study" in done.stderr
    assert done.stderr.splitlines()[1].startswith("error: ")
    unknown = CliRunner().invoke(study.app, ["run", "losses-wnli", "--data", str(tmp_path)])
    assert unknown.exit_code == 2
    assert "losses-wnli" in unknown.stderr


def test_the_list_counts_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    (tmp_path / "why-sst2" / "cells").mkdir(parents=True)
    for key in "ab":
        (tmp_path / "why-sst2" / "cells" / f"{key}.json").write_text("{}")
    lines = CliRunner().invoke(study.app, ["list"]).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "2" if name == "why-sst2" else "0"] for name in ARMS]
    assert [line.endswith("wants a GPU") for line in lines] == [name.startswith("full") for name in ARMS]
