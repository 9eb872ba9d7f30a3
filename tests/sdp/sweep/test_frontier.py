"""Which level is chosen, what the sweep ends with, and what the table and the picture say of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from sdp.gate.check import Outcome
from sdp.recipe.gate import GateSection
from sdp.sweep.frontier import Dense, Frontier, Point, SpeedUp, read_dense, read_point, remarks
from sdp.sweep.plot import frontier_plot
from sdp.sweep.table import markdown
from sdp_onnx.bench.interval import Interval

LEVELS = (0.5, 0.8, 0.9)


def point(sparsity: float, verdict: Outcome, split: str = "dev", *, quiet: bool = True) -> Point:
    speed = SpeedUp("batch 1, 128 tokens, 2 threads", Interval(1 / (1 - sparsity), 1.0, 12.0), quiet)
    return Point(
        sparsity=sparsity,
        folder=f"sparsity-{sparsity:.2f}",
        split=split,
        zeros=sparsity,
        metric=Interval(0.9 - sparsity / 10, 0.7, 0.95),
        drop=Interval(sparsity / 10, 0.0, 0.2),
        bytes=round(1e6 * (1.1 - sparsity)),
        size_ratio=1.1 - sparsity,
        cases=(speed,),
        verdict=verdict,
    )


def frontier(*verdicts: Outcome, held_out: bool = False, gate: GateSection | None = None) -> Frontier:
    points = tuple(point(sparsity, verdict) for sparsity, verdict in zip(LEVELS, verdicts, strict=False))
    thresholds = GateSection(max_metric_drop=0.02) if gate is None else gate
    dense = Dense(Interval(0.9, 0.88, 0.92), 1_100_000)
    return Frontier("toy", "accuracy", thresholds, 5.0, LEVELS, dense, points, held_out)


@pytest.mark.parametrize(
    ("verdicts", "chosen", "exit_code"),
    [
        (["pass", "pass", "pass"], 0.9, 0),
        (["pass", "pass", "fail"], 0.8, 0),
        (["pass", "pass", "inconclusive"], 0.8, 0),
        # Too slow at low sparsity: a failure below says nothing.
        (["fail", "pass", "fail"], 0.8, 0),
        (["fail", "fail", "fail"], None, 1),
        (["fail", "inconclusive", "fail"], None, 3),
    ],
)
def test_the_sparsest_that_passes_is_chosen(verdicts: list[Outcome], chosen: float | None, exit_code: int) -> None:
    content = frontier(*verdicts).to_json()
    assert (content["chosen"]["sparsity"] if content["chosen"] else None) == chosen
    assert content["exit_code"] == exit_code
    assert len(content["levels"]) == 3


def test_nothing_is_chosen_before_all_levels_are_there() -> None:
    partial = frontier("pass", "pass")
    assert (partial.chosen, partial.verdict) == (None, None)
    assert "2 of 3 levels are finished." in remarks(partial)


@pytest.mark.parametrize(("on_test", "exit_code"), [("pass", 0), ("fail", 1), ("inconclusive", 3)])
def test_the_test_split_has_the_last_word(on_test: Outcome, exit_code: int) -> None:
    judged = frontier("pass", "pass", "fail", held_out=True)
    assert judged.chosen is not None
    assert judged.verdict is None
    done = replace(judged, confirmed=replace(point(0.8, on_test, "test"), folder="chosen"))
    content = done.to_json()
    assert content["exit_code"] == exit_code
    assert (content["chosen"]["split"], content["chosen"]["folder"]) == ("test", "chosen")
    assert any(f"Measured once on test: {on_test}" in line for line in remarks(done))
    assert not any("selected among" in line for line in remarks(done))
    assert "| 0.8, on test | 80.0% | 0.820 [0.700, 0.950] |" in markdown(done)
    # Without a level that passes on dev, test is not touched.
    assert frontier("fail", "fail", "fail", held_out=True).verdict == "fail"


def test_a_reader_is_told_what_not_to_believe() -> None:
    text = "\n".join(remarks(frontier("pass", "pass", "fail")))
    assert "selected among 3" in text
    assert "3 times the training of a plain run" in text
    assert "No level passes" in "\n".join(remarks(frontier("fail", "fail", "fail")))
    default = "\n".join(remarks(frontier("pass", "pass", "pass", gate=GateSection(max_size_ratio=0.9))))
    assert "sets no threshold on the metric: the default applies, gate.max_metric_drop = 0.02." in default
    noisy = frontier("pass", "pass", "fail")
    noisy = replace(noisy, points=(*noisy.points[:2], point(0.9, "fail", quiet=False)))
    assert "The machine was noisy at 0.9 " in "\n".join(remarks(noisy))


def test_the_picture_shows_dense_levels_cases_and_verdicts() -> None:
    picture = frontier_plot(frontier("fail", "pass", "inconclusive"))
    assert picture is not None
    assert picture.startswith("<svg ")
    texts = re.findall(r">([^<>]+)</text>", picture)
    # A name on either side; a tick may have the same.
    assert all(texts.count(name) >= 2 for name in ("0.5", "0.8", "0.9"))
    for words in (
        "dense",
        "batch 1, 128 tokens, 2 threads",
        "gate: pass",
        "gate: fail",
        "gate: inconclusive",
        "chosen",
    ):
        assert words in texts
    assert "accuracy on dev, 95 % interval" in texts
    nothing = frontier_plot(frontier("fail", "fail", "fail"))
    assert nothing is not None
    assert "chosen" not in nothing
    assert "gate: pass" not in nothing
    assert frontier_plot(frontier()) is None


def test_levels_without_a_metric_are_shown_without_one() -> None:
    nothing = {"value": None, "low": None, "high": None, "undefined": "all labels are of one class"}
    estimate = {"value": 2.0, "low": 1.0, "high": 3.0}
    results = {
        "export": {
            "split": "dev",
            "mean_over": None,
            "models": {"dense": nothing, "exported": nothing},
            "drop": nothing,
        },
        "bench": {
            "candidate_bytes": 1,
            "baseline_bytes": 2,
            "cases": [{"case": "batch 1", "threads": 1, "speedup": estimate, "quiet": True}],
        },
        "prune": {"sparsity": 0.5},
        "gate": {"verdict": "inconclusive"},
    }
    points = tuple(read_point(sparsity, "folder", results) for sparsity in LEVELS)
    swept = Frontier("toy", "f1", GateSection(max_metric_drop=0.1), 5.0, LEVELS, read_dense(results), points, False)
    content = json.loads(json.dumps(swept.to_json(), allow_nan=False))
    assert content["levels"][0]["metric"] == {"value": None, "low": None, "high": None}
    assert (content["verdict"], content["chosen"]) == ("inconclusive", None)
    assert "f1 is undefined on dev: all labels are of one class." in remarks(swept)
    assert "| 0.5 | 50.0% | undefined | undefined |" in markdown(swept)
    assert frontier_plot(swept) is not None
