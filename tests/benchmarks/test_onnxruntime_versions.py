"""A shipped folder in the releases of onnxruntime that its manifest promises, each in an environment of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from onnxruntime_versions import RELEASES, check, covers, environment, runs
from support.toy import sdp


def test_a_release_is_covered_by_number_and_not_by_text() -> None:
    assert covers("1.17", "1.17.0")
    assert covers("1.9", "1.17.0")
    assert not covers("1.23", "1.20.1")


@pytest.fixture(scope="module")
def shipped(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder of each encoding."""
    project = tmp_path_factory.mktemp("encodings") / "project"
    shutil.copytree(finished, project)
    for encoding in ("coo", "dense"):
        run = project / "runs" / encoding
        shutil.copytree(project / "runs" / "toy", run)
        settings = (f'export.encoding="{encoding}"', "gate.max_size_ratio=2")
        given = [part for setting in settings for part in ("--set", setting)]
        sdp("run", "toy.toml", *given, "--run-dir", str(run), cwd=project, check=True)
    return [project / "runs" / name / "8-ship" for name in ("toy", "coo", "dense")]


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_release_runs_what_is_promised_of_it(
    shipped: list[Path], release: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Needs a package index: each release is installed into an environment of its own."""
    python = environment(tmp_path_factory.getbasetemp() / "onnxruntime-releases", release)
    promised = [json.loads((folder / "manifest.json").read_text())["onnxruntime"] for folder in shipped]
    assert promised == ["1.17", "1.23", "1.23"]
    assert [runs(check(python, folder)) for folder in shipped] == [covers(oldest, release) for oldest in promised]
