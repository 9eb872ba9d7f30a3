"""Which level is chosen, the verdict of the sweep, and its table and plot."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from sdp.choice.measured import CaseSpeedUp, DenseModel, dense_model
from sdp.gate.check import Outcome
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.results import FinishedResults
from sdp.pipeline.artifacts.training import FinetuneMetrics, RowCounts
from sdp.pipeline.artifacts.verdict import GateVerdict
from sdp.recipe.gate import GateSection
from sdp.sweep.artifacts import FrontierReport, MeasuredLevel, Weakest
from sdp.sweep.frontier import Frontier, measured_level, remarks
from sdp.sweep.plot import frontier_plot
from sdp.sweep.table import markdown
from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.statistics import Start
from support.artifacts import (
    UNDEFINED,
    bench_latency,
    case_result,
    evaluate_metrics,
    export_metrics,
    scores,
    three_processes,
)

LEVELS = (0.5, 0.8, 0.9)


def level(
    sparsity: float, verdict: Outcome, split: str = "dev", *, quiet: bool = True, chance: float | None = None
) -> MeasuredLevel:
    speedup = Interval(1 / (1 - sparsity), 1.0, 12.0)
    speed = CaseSpeedUp(case="batch 1, 128 tokens, 2 threads", speedup=speedup, quiet=quiet)
    return MeasuredLevel(
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
        weakest=None if chance is None else Weakest(sentence=f"{chance:g} of it", probability=chance),
        undefined="",
    )


def frontier(*verdicts: Outcome, held_out: bool = False, gate: GateSection | None = None) -> Frontier:
    levels = tuple(level(sparsity, verdict) for sparsity, verdict in zip(LEVELS, verdicts, strict=False))
    thresholds = GateSection(max_metric_drop=0.02) if gate is None else gate
    dense = DenseModel(metric=Interval(0.9, 0.88, 0.92), bytes=1_100_000)
    return Frontier("toy", "accuracy", thresholds, LEVELS, dense, levels, held_out)


@pytest.mark.parametrize(
    ("verdicts", "chosen", "exit_code"),
    [
        (["pass", "pass", "pass"], 0.9, 0),
        (["pass", "pass", "fail"], 0.8, 0),
        (["pass", "pass", "inconclusive"], 0.8, 0),
        # Too slow at low sparsity: a failure there does not count against sparser levels.
        (["fail", "pass", "fail"], 0.8, 0),
        (["fail", "fail", "fail"], None, 1),
        (["fail", "inconclusive", "fail"], None, 3),
    ],
)
def test_the_sparsest_that_passes_is_chosen(verdicts: list[Outcome], chosen: float | None, exit_code: int) -> None:
    report = frontier(*verdicts).report()
    assert (report.chosen.sparsity if report.chosen else None) == chosen
    assert report.exit_code == exit_code
    assert len(report.levels) == 3


def test_nothing_is_chosen_before_all_levels_are_there() -> None:
    partial = frontier("pass", "pass")
    assert (partial.chosen, partial.verdict) == (None, None)
    assert "2 of 3 levels are finished." in remarks(partial)


@pytest.mark.parametrize(("on_test", "exit_code"), [("pass", 0), ("fail", 1), ("inconclusive", 3)])
def test_the_test_split_has_the_last_word(on_test: Outcome, exit_code: int) -> None:
    judged = frontier("pass", "pass", "fail", held_out=True)
    assert judged.chosen is not None
    assert judged.verdict is None
    done = replace(judged, confirmed=level(0.8, on_test, "test").model_copy(update={"folder": "chosen"}))
    report = done.report()
    assert report.exit_code == exit_code
    assert report.chosen is not None
    assert (report.chosen.split, report.chosen.folder) == ("test", "chosen")
    assert any(f"Measured once on test: {on_test}" in line for line in remarks(done))
    assert not any("selected among" in line for line in remarks(done))
    assert "| 0.8, on test | 80.0% | 0.820 [0.700, 0.950] |" in markdown(done)
    # Without a level that passes on dev, test is not touched.
    assert frontier("fail", "fail", "fail", held_out=True).verdict == "fail"


def test_the_remarks_name_every_reservation() -> None:
    text = "\n".join(remarks(frontier("pass", "pass", "fail")))
    assert "selected among 3" in text
    assert "3 times the training of a plain run" in text
    assert "No level passes" in "\n".join(remarks(frontier("fail", "fail", "fail")))
    default = "\n".join(remarks(frontier("pass", "pass", "pass", gate=GateSection(max_size_ratio=0.9))))
    assert "sets no threshold on the metric: the default applies, gate.max_metric_drop = 0.02." in default
    noisy = frontier("pass", "pass", "fail")
    noisy = replace(noisy, levels=(*noisy.levels[:2], level(0.9, "fail", quiet=False)))
    assert "The machine was noisy at 0.9 " in "\n".join(remarks(noisy))


def test_where_none_passes_the_nearest_is_named_with_its_risk() -> None:
    failed = frontier("fail", "fail", "fail")
    assert failed.nearest is None
    chances = zip(LEVELS, (0.4, 0.4, 0.2), strict=True)
    failed = replace(failed, levels=tuple(level(sparsity, "fail", chance=chance) for sparsity, chance in chances))
    assert failed.nearest is failed.levels[1]
    report = failed.report()
    assert (report.nearest, report.chosen, report.exit_code) == (failed.levels[1], None, 1)
    expected = (
        "No level passes the gate. Nearest is 0.8, in sparsity-0.80: 0.4 of it; the probability that it is so is 0.40."
    )
    assert expected in remarks(failed)
    assert replace(failed, levels=(*failed.levels[:2], level(0.9, "pass", chance=0.99))).nearest is None


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


def test_levels_without_a_metric_are_shown_without_one(tmp_path: Path) -> None:
    case = case_result("batch 1", [Start(10, 2.0, 0.1, 1.0, 1.0, 2.0)], threads=1, speedup=Interval(2.0, 1.0, 3.0))
    results = FinishedResults(
        vocabulary=None,
        finetune=FinetuneMetrics(metric="f1", dev=None, undefined="", rows=RowCounts(train=1, dev=1, test=0), log=()),
        prune=PruneMetrics(metric="f1", dev=None, undefined="", sparsity=0.5, layers={}, log=()),
        evaluate=evaluate_metrics(),
        export=export_metrics(split="dev", metric="f1", **scores(UNDEFINED, UNDEFINED, UNDEFINED)),
        bench=bench_latency([case], three_processes(1, threads=1)),
        gate=GateVerdict(verdict="inconclusive", exit_code=3, checks=()),
    )
    levels = tuple(measured_level(sparsity, "folder", results) for sparsity in LEVELS)
    swept = Frontier(
        "toy",
        "f1",
        GateSection(max_metric_drop=0.1),
        LEVELS,
        dense_model(results.export, results.bench),
        levels,
        False,
    )
    swept.report().store(tmp_path)
    content = json.loads((tmp_path / "frontier.json").read_text())
    assert content["levels"][0]["metric"] == {"value": None, "low": None, "high": None}
    assert content["levels"][0]["undefined"] == "all labels are of one class"
    assert (content["verdict"], content["chosen"]) == ("inconclusive", None)
    assert FrontierReport.read(tmp_path / "frontier.json") == swept.report()
    assert "f1 is undefined on dev: all labels are of one class." in remarks(swept)
    assert "| 0.5 | 50.0% | undefined | undefined |" in markdown(swept)
    assert frontier_plot(swept) is not None
