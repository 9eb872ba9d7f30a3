"""The gate's arithmetic: every side of every threshold, and its reports read back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from junitparser import JUnitXml

from sdp.errors import RunError
from sdp.gate.check import EXIT_CODES, judge_bound
from sdp.gate.judge import judge, verdict
from sdp.gate.verdict_files import junit, markdown
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.statistics import Start
from support.artifacts import (
    UNDEFINED,
    around,
    bench_latency,
    case_result,
    export_metrics,
    of_class,
    part,
    scores,
    three_processes,
)

CONSTANT = {"answer": 'always answering "a"', "value": 0.5, "gain": around(0.33, 0.03)}

CLASSES = [of_class(name, 0.9, 0.9 - drop) for name, drop in (("a", 0.01), ("b", 0.05), ("c", 0.09))]
EXPORTED = export_metrics(classes=CLASSES)
PARTS = {"en": part(around(0.0), around(0.01)), "sw": part(around(0.0), {"value": 0.06, "low": 0.02, "high": 0.09})}


def starts(*speedups: float) -> list[Start]:
    """Processes of one file hardly differ; the candidate takes 6 ms for a speed-up of 1."""
    return [Start(10, speedup, 0.001, 1.001, 6 / speedup, 12 / speedup) for speedup in speedups]


BENCH = bench_latency(
    [
        case_result("batch 1, 32 tokens", starts(3.0, 3.05, 2.95)),
        case_result("batch 1, 128 tokens", starts(2.0, 2.02, 1.98)),
    ],
    [process for peak in (100_000_000, 102_000_000, 101_000_000) for process in three_processes(peak)],
)


@pytest.mark.parametrize(
    ("bound", "threshold", "outcome"),
    [
        ("min", 0.9, "pass"),
        ("min", 1.0, "pass"),
        ("min", 1.1, "inconclusive"),
        ("min", 2.0, "inconclusive"),
        ("min", 2.1, "fail"),
        ("max", 2.1, "pass"),
        ("max", 2.0, "pass"),
        ("max", 1.9, "inconclusive"),
        ("max", 1.0, "inconclusive"),
        ("max", 0.9, "fail"),
    ],
)
def test_a_threshold_inside_the_interval_is_inconclusive(bound: str, threshold: float, outcome: str) -> None:
    estimate = Interval(1.5, 1.0, 2.0)
    assert judge_bound("x", bound, threshold, estimate, "x").outcome == outcome


@pytest.mark.parametrize(
    ("settings", "outcomes"),
    [
        ({"min_metric": 0.75}, ["pass"]),
        ({"min_dense_metric": 0.81}, ["pass"]),
        ({"min_dense_metric": 0.82}, ["inconclusive"]),
        ({"min_dense_metric": 0.86}, ["fail"]),
        ({"max_class_drop": 0.11}, ["pass"]),
        ({"max_class_drop": 0.08}, ["inconclusive"]),
        ({"max_class_drop": 0.04}, ["fail", "inconclusive"]),
        ({"min_metric": 0.81}, ["inconclusive"]),
        ({"min_metric": 0.9}, ["fail"]),
        ({"max_metric_drop": 0.05}, ["pass"]),
        ({"max_metric_drop": 0.02}, ["inconclusive"]),
        ({"max_metric_drop": 0.005}, ["fail"]),
        ({"max_size_ratio": 0.4}, ["pass"]),
        ({"max_size_ratio": 0.39}, ["fail"]),
        ({"max_part_drop": 0.05}, ["pass"]),
        ({"max_part_drop": 0.005}, ["fail"]),
        ({"max_size_mb": 0.4}, ["pass"]),
        ({"max_size_mb": 0.3}, ["fail"]),
        ({"min_same_predictions": 0.97}, ["pass"]),
        ({"min_same_predictions": 0.98}, ["inconclusive"]),
        ({"min_same_predictions": 0.999}, ["fail"]),
        ({"max_relative_error": 2e-6}, ["pass"]),
        ({"max_relative_error": 1e-6}, ["fail"]),
        ({"max_latency_ms": 4.0}, ["pass", "pass"]),
        ({"max_latency_ms": 2.5}, ["pass", "fail"]),
        ({"max_latency_ms": 3.0}, ["pass", "inconclusive"]),
        ({"max_p99_ms": 6.1}, ["pass", "inconclusive"]),
        ({"max_p99_ms": 3.0}, ["fail", "fail"]),
        ({"max_memory_mb": 110.0}, ["pass"]),
        ({"max_memory_mb": 101.0}, ["inconclusive"]),
        ({"max_memory_mb": 90.0}, ["fail"]),
        ({"min_speedup": 1.5}, ["pass", "pass"]),
        ({"min_speedup": 2.5}, ["pass", "fail"]),
        ({"min_speedup": 2.0}, ["pass", "inconclusive"]),
    ],
)
def test_every_check(settings: dict[str, float], outcomes: list[str]) -> None:
    checks = judge(GateSection(**settings), EXPORTED, BENCH)
    assert [check.outcome for check in checks if check.name in settings] == outcomes


@pytest.mark.parametrize(
    ("settings", "default"),
    [
        ({}, True),
        ({"max_size_ratio": 0.4, "min_dense_metric": 0.1}, True),
        ({"max_metric_drop": 0.5}, False),
        ({"min_metric": 0.5}, False),
        ({"max_part_drop": 0.5}, False),
        ({"max_class_drop": 0.5}, False),
    ],
)
def test_a_gate_without_a_threshold_on_the_metric_has_the_default_one(settings: dict, default: bool) -> None:
    section = GateSection(**settings)
    judged = [check for check in judge(section, EXPORTED, BENCH) if "(default threshold)" in check.subject]
    assert [(check.name, check.threshold, check.outcome) for check in judged] == (
        [("max_metric_drop", 0.02, "inconclusive")] if default else []
    )
    assert section.thresholds == settings | ({"max_metric_drop": 0.02} if default else {})


@pytest.mark.parametrize(
    ("bound", "threshold", "low", "high", "outcome"),
    [
        # What 0.95 - 0.9 and 1 - 0.95 are in a computer's arithmetic.
        ("max", 0.05, 0.0, 0.95 - 0.9 + 2e-16, "pass"),
        ("max", 0.05, 1 - 0.95, 0.06, "inconclusive"),
        ("max", 0.05, 0.0500001, 0.06, "fail"),
        ("max", 0.05, 0.0, 0.0500001, "inconclusive"),
        ("min", 0.3, 0.1 * 3 - 1e-16, 0.9, "pass"),
        ("min", 0.1 + 0.2, 0.3, 0.9, "pass"),
        ("min", 0.9, 0.1, 0.9 - 1e-16, "inconclusive"),
        ("max", 0.0, 0.0, 2.2e-16, "pass"),
        ("max", 1e-6, 1e-6, 1.001e-6, "inconclusive"),
    ],
)
def test_rounding_decides_no_verdict(bound: str, threshold: float, low: float, high: float, outcome: str) -> None:
    estimate = Interval((low + high) / 2, low, high)
    assert judge_bound("x", bound, threshold, estimate, "x").outcome == outcome


def test_a_sentence_shows_a_difference_that_decides() -> None:
    near = judge_bound("x", "max", 0.05, Interval(0.02, 0.0, 0.0500004), "drop")
    assert near.sentence() == "drop is 0.02 [0, 0.0500004], must be at most 0.05"
    equal = judge_bound("x", "max", 0.05, Interval.exact(0.05000000000000004), "drop")
    assert (equal.outcome, equal.sentence()) == ("pass", "drop is 0.05, must be at most 0.05")


def test_an_undefined_metric_leaves_every_threshold_on_it_open() -> None:
    metrics = export_metrics(
        **scores(UNDEFINED, UNDEFINED, UNDEFINED),
        classes=CLASSES,
        part="language",
        parts={"en": PARTS["en"], "de": part(UNDEFINED)},
        classes_without_rows=["d"],
        constant={**CONSTANT, "gain": UNDEFINED},
    )
    keys = ("min_metric", "max_metric_drop", "max_part_drop", "max_class_drop", "min_dense_metric")
    checks = judge(GateSection(**dict.fromkeys(keys, 0.5)), metrics, BENCH)
    open_ones = {check.name: check for check in checks if check.outcome == "inconclusive"}
    assert set(open_ones) == {*keys, "allow_constant_dense"}
    assert verdict(checks) == "inconclusive"
    assert "language de of test: undefined, because all labels" in open_ones["max_part_drop"].sentence()
    assert '"d" on test: undefined, because no row of test has this label' in open_ones["max_class_drop"].sentence()
    assert "the worst of 2" in next(check.subject for check in checks if "language en" in check.subject)
    report = [json.loads(json.dumps(asdict(check), allow_nan=False)) for check in checks]
    assert {check["value"] for check in report if check["outcome"] == "inconclusive"} == {None}
    assert "undefined, because" in markdown(checks, "suite")
    assert "undefined, because" in junit(checks, "suite")


def test_a_dense_model_that_is_not_better_than_one_answer_leaves_the_verdict_open() -> None:
    passing = {"max_metric_drop": 1.0}
    gain = {"value": 0.01, "low": -0.02, "high": 0.04}
    metrics = export_metrics(constant={**CONSTANT, "gain": gain})
    checks = judge(GateSection(**passing), metrics, BENCH)
    assert verdict(checks) == "inconclusive"
    assert checks[0].sentence() == (
        'dense model on test: not shown to be better than always answering "a": accuracy 0.510 against 0.500, '
        "difference 0.010 [-0.020, 0.040]"
    )
    assert verdict(judge(GateSection(**passing, allow_constant_dense=True), metrics, BENCH)) == "pass"
    assert verdict(judge(GateSection(**passing), EXPORTED, BENCH)) == "pass"
    # Nothing but rounding better.
    same = export_metrics(constant={**CONSTANT, "gain": around(1e-16, 0.0)})
    assert verdict(judge(GateSection(**passing), same, BENCH)) == "inconclusive"


def test_classes_that_do_not_pass_are_reported_and_the_worst_where_all_do() -> None:
    (worst,) = judge(GateSection(max_class_drop=0.2), EXPORTED, BENCH)
    assert worst.sentence() == 'drop of F1 of "c" on test (the worst of 3) is 0.09 [0.07, 0.11], must be at most 0.2'


def test_a_mean_over_languages_is_called_one() -> None:
    settings = GateSection(max_metric_drop=0.05, min_metric=0.75)
    for over, words in ((None, "on test"), ("15 languages", "on test, mean over 15 languages")):
        assert all(words in check.subject for check in judge(settings, export_metrics(mean_over=over), BENCH))
    assert "mean over" not in judge(settings, EXPORTED, BENCH)[0].subject


def test_parts_are_judged_each_and_the_worst_comes_first() -> None:
    metrics = export_metrics(mean_over="2 languages", part="language", parts=PARTS)
    for threshold, outcomes in ((0.1, ["pass", "pass"]), (0.05, ["inconclusive", "pass"]), (0.01, ["fail"])):
        checks = judge(GateSection(max_part_drop=threshold), metrics, BENCH)
        assert [check.outcome for check in checks][: len(outcomes)] == outcomes
        assert "language sw of test (the worst of 2)" in checks[0].subject
        assert "language en of test" in checks[1].subject


def test_memory_that_the_system_does_not_report_is_an_error() -> None:
    unknown = BENCH.model_copy(update={"processes": three_processes(None)})
    with pytest.raises(RunError, match="does not report"):
        judge(GateSection(max_memory_mb=1.0), EXPORTED, unknown)
    assert [check.name for check in judge(GateSection(), EXPORTED, unknown)] == ["max_metric_drop"]


def test_one_failure_fails_and_one_doubt_leaves_it_open() -> None:
    def checks(**settings: float) -> list:
        return judge(GateSection(**settings), EXPORTED, BENCH)

    assert verdict([]) == "inconclusive", "nothing was checked"
    assert verdict(checks(min_metric=0.7)) == "pass"
    assert verdict(checks(min_metric=0.81)) == "inconclusive"
    assert verdict(checks(min_metric=0.81, max_size_ratio=0.1)) == "fail"
    assert EXIT_CODES == {"pass": 0, "fail": 1, "inconclusive": 3}


def test_junit_and_markdown_tell_the_same(tmp_path: Path) -> None:
    checks = judge(GateSection(min_metric=0.81, max_size_ratio=0.1, min_speedup=1.5), EXPORTED, BENCH)
    (tmp_path / "junit.xml").write_text(junit(checks, "a & b", "Measured again for 3 s."), encoding="utf-8")
    report = JUnitXml.fromfile(tmp_path / "junit.xml")
    (suite,) = report
    assert (suite.tests, suite.failures, suite.errors) == (4, 1, 1)
    assert suite.name == "sdp gate: a & b"
    assert "<system-out>Measured again for 3 s.</system-out>" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
    output = [(case.classname, [type(result).__name__ for result in case.result]) for case in suite]
    assert output == [
        ("gate.min_metric", ["Error"]),
        ("gate.max_size_ratio", ["Failure"]),
        ("gate.min_speedup", []),
        ("gate.min_speedup", []),
    ]
    assert "must be at most 0.1" in list(suite)[1].result[0].message
    table = markdown(checks, "a & b", "Measured again for 3 s.")
    assert "**fail**" in table
    assert table.count("\n| m") == 4
    assert table.endswith("\n\nMeasured again for 3 s.\n")
    named = replace(checks[0], subject="accuracy on a|b")
    assert "accuracy on a\\|b" in markdown([named], "suite")


def test_scores_that_are_no_classes_are_not_compared_with_torch() -> None:
    torch = {**EXPORTED.torch.to_json(), "same_predictions": None}
    (check,) = (
        check
        for check in judge(GateSection(min_same_predictions=0.9), export_metrics(torch=torch), BENCH)
        if check.name == "min_same_predictions"
    )
    assert check.outcome == "inconclusive"
    assert "undefined, because accuracy is of numbers" in check.sentence()
