"""The figures behind claims B and D: means over seeds, and differences to the arm without a teacher, paired by seed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scipy import stats

from sdp.study.artifacts import CellResult
from study_analysis import FIGURES, RESULTS, analysis_table

STORED = sorted((RESULTS / "losses-mrpc" / "cells").glob("*.json"))[0]


def cell(arm: tuple[str, ...], seed: int, cka: float, snr: tuple[float, ...]) -> CellResult:
    """A stored cell with another arm, seed and analysis."""
    content: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    analysis = content["analysis"]
    final = dict.fromkeys(("separability", "fisher", "output_snr_db", "cosine", "agreement"), 0.25)
    analysis["final"] |= {**final, "cka": cka}
    analysis["recovery"] |= {"mean_drop": 0.1, "mean_steps_to_regain": None, "area": 0.8}
    analysis["weights"] = [{**analysis["weights"][0], "snr_db": value, "hoyer": 0.5, "below": 0.01} for value in snr]
    content |= {"arm": dict(zip(("prune.losses", "prune.sparsity"), arm, strict=False)), "seed": seed}
    return CellResult.parse(json.dumps(content), "a cell")


def rows(table: str) -> dict[str, list[str]]:
    return {cells[0]: cells[1:] for line in table.splitlines() if (cells := [c.strip() for c in line.split("|")[1:-1]])}


def test_means_and_paired_differences() -> None:
    cells = [
        cell(("none",), 0, 0.50, (10.0, 20.0)),
        cell(("none",), 1, 0.60, (12.0, 24.0)),
        cell(("kld",), 0, 0.70, (11.0, 21.0)),
        cell(("kld",), 1, 0.70, (13.0, 25.0)),
    ]
    found = rows(analysis_table(cells))
    assert found[""] == ["none", "kld"], "the arm compared with comes first"
    p = stats.ttest_rel([0.7, 0.7], [0.5, 0.6]).pvalue
    assert found["CKA"] == ["0.550", f"0.700 (+0.150, p {p:.2f})"]
    # The mean over updates, then over seeds; one point more in both seeds has no variance to test with.
    assert found["weight SNR, dB"] == ["16.500", "17.500 (+1.000)"]
    assert found["steps to regain 99 %"] == ["", ""], "nothing was regained"
    assert len(found) == len(FIGURES) + 2


@pytest.mark.parametrize("sparsity", ["0.5", "0.9"])
def test_each_sparsity_has_its_own_baseline(sparsity: str) -> None:
    cells = [
        cell((loss, level), 0, value, (1.0,))
        for level, base in (("0.5", 0.9), ("0.9", 0.4))
        for loss, value in (("none", base), ("cosine", base + 0.05))
    ]
    found = rows(analysis_table(cells))
    entry = found["CKA"][found[""].index(f"cosine, {sparsity}")]
    assert entry.endswith("(+0.050)")
