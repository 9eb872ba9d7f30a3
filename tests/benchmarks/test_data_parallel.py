"""benchmarks/costs/data_parallel.py: the stored result holds what it says, and the table can be printed from it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import data_parallel
from support.toy import ONE_THREAD


@pytest.fixture(scope="module")
def stored() -> dict:
    return json.loads(data_parallel.RESULTS.read_text())


def test_the_table_is_that_of_the_stored_curves(stored: dict) -> None:
    command = [sys.executable, data_parallel.__file__, "table"]
    printed = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, check=True).stdout
    assert printed.count("\n") == 2 + len(stored["arms"])
    for arm in stored["arms"]:
        assert arm["arm"] in printed


def test_two_processes_without_dropout_are_one(stored: dict) -> None:
    base = stored["arms"][0]["curves"]
    for arm in stored["arms"]:
        for stage, curve in arm["curves"].items():
            apart = max(abs(one - other) for one, other in zip(curve, base[stage], strict=True))
            if arm["dropout"] == 0:
                assert apart == pytest.approx(arm["difference"][stage])
                assert apart < 1e-4, arm["arm"]
        assert len(set(arm["curves"]["pruning"])) > 10
