"""The gate's arithmetic: every side of every threshold, and its reports read back."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from sdp.gate import EXIT_CODES, judge, judge_bound, junit, markdown, verdict
from sdp.recipe.sections import GateSection

EXPORTED = {
    "metric": "accuracy",
    "split": "test",
    "mean_over": None,
    "models": {"exported": {"value": 0.80, "low": 0.78, "high": 0.82}},
    "drop": {"value": 0.03, "low": 0.01, "high": 0.05},
}
BENCH = {
    "baseline_bytes": 1000,
    "candidate_bytes": 400,
    "cases": [
        {"case": "batch 1, 32 tokens", "threads": 2, "speedup": {"value": 3.0, "low": 2.8, "high": 3.2}},
        {"case": "batch 1, 128 tokens", "threads": 2, "speedup": {"value": 2.0, "low": 1.9, "high": 2.1}},
    ],
}


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
    estimate = {"value": 1.5, "low": 1.0, "high": 2.0}
    assert judge_bound("x", bound, threshold, estimate, "x").outcome == outcome


@pytest.mark.parametrize(
    ("settings", "outcomes"),
    [
        ({}, []),
        ({"min_metric": 0.75}, ["pass"]),
        ({"min_metric": 0.81}, ["inconclusive"]),
        ({"min_metric": 0.9}, ["fail"]),
        ({"max_metric_drop": 0.05}, ["pass"]),
        ({"max_metric_drop": 0.02}, ["inconclusive"]),
        ({"max_metric_drop": 0.005}, ["fail"]),
        ({"max_size_ratio": 0.4}, ["pass"]),
        ({"max_size_ratio": 0.39}, ["fail"]),
        ({"min_speedup": 1.5}, ["pass", "pass"]),
        ({"min_speedup": 2.5}, ["pass", "fail"]),
        ({"min_speedup": 2.0}, ["pass", "inconclusive"]),
    ],
)
def test_every_check(settings: dict[str, float], outcomes: list[str]) -> None:
    assert [check.outcome for check in judge(GateSection(**settings), EXPORTED, BENCH)] == outcomes


def test_a_mean_over_languages_is_said_to_be_one() -> None:
    settings = GateSection(max_metric_drop=0.05, min_metric=0.75)
    for over, words in ((None, "on test"), ("15 languages", "on test, mean over 15 languages")):
        assert all(words in check.subject for check in judge(settings, {**EXPORTED, "mean_over": over}, BENCH))
    assert "mean over" not in judge(settings, EXPORTED, BENCH)[0].subject


def test_one_failure_fails_and_one_doubt_leaves_it_open() -> None:
    def checks(**settings: float) -> list:
        return judge(GateSection(**settings), EXPORTED, BENCH)

    assert verdict([]) == "pass"
    assert verdict(checks(min_metric=0.7)) == "pass"
    assert verdict(checks(min_metric=0.81)) == "inconclusive"
    assert verdict(checks(min_metric=0.81, max_size_ratio=0.1)) == "fail"
    assert EXIT_CODES == {"pass": 0, "fail": 1, "inconclusive": 3}


def test_junit_and_markdown_tell_the_same() -> None:
    checks = judge(GateSection(min_metric=0.81, max_size_ratio=0.1, min_speedup=1.5), EXPORTED, BENCH)
    suite = ElementTree.fromstring(junit(checks, "a & b")).find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "1")
    assert len(suite.findall("testcase")) == 4
    assert "must be at most 0.1" in suite.find("testcase/failure").get("message")
    assert "a & b" in suite.get("name")
    table = markdown(checks, "a & b")
    assert "**fail**" in table
    assert table.count("\n| m") == 4
