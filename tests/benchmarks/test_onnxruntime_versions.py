"""A shipped folder in the releases of onnxruntime that its manifest promises, each in an environment of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxruntime_versions import RELEASES, check, covers, environment, runs
from toy import sdp


def test_a_release_is_covered_by_number_and_not_by_text() -> None:
    assert covers("1.17", "1.17.0")
    assert covers("1.9", "1.17.0")
    assert not covers("1.23", "1.20.1")


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_release_runs_what_is_promised_of_it(
    finished: Path, release: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Needs a package index: each release is installed into an environment of its own."""
    python = environment(tmp_path_factory.getbasetemp() / "onnxruntime-releases", release)
    shipped = {"auto": finished / "runs" / "toy" / "8-ship"}
    for encoding in ("coo", "dense"):
        run = finished / "runs" / encoding
        setting = ("--set", f'export.encoding="{encoding}"', "--run-dir", str(run))
        sdp("run", "toy.toml", *setting, cwd=finished, check=True)
        shipped[encoding] = run / "8-ship"
    for folder in shipped.values():
        promised = json.loads((folder / "manifest.json").read_text())["onnxruntime"]
        assert runs(check(python, folder)) is covers(promised, release)
    assert json.loads((shipped["auto"] / "manifest.json").read_text())["onnxruntime"] == "1.17"
