"""benchmarks/kernels/products.py, compiled and run on one number of tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import products
from sdp_onnx.operators.library import has_library


@pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")
@pytest.mark.slow  # a program that is run by hand
def test_shares_of_the_peak(tmp_path: Path) -> None:
    output = tmp_path / "products.json"
    done = CliRunner().invoke(products.app, ["run", "--groups", "1", "--output", str(output)])
    assert done.exit_code == 0, done.stderr
    rows = json.loads(output.read_text())["products"]
    assert len(rows) == 2 * (len(products.SHAPES) * len(products.SHARES) + 1)
    assert all(0 < row["of_peak"]["16"] < 1.2 for row in rows)
    assert done.stdout.count("all, sparse format") == 2
