"""Recovery from mask updates on curves made by hand."""

from __future__ import annotations

import pytest

from sdp.pipeline.artifacts.analysis import UpdateRecovery
from sdp.pruning.analysis.document import Point, Recovery, analysis_report, recoveries, summarize

# (step, metric, event)
CURVE = [
    (10, 0.90, "before"),
    (10, 0.70, "after"),
    (12, 0.80, "between"),
    (14, 0.895, "between"),  # 99 % of 0.90 is 0.891
    (20, 0.90, "before"),
    (20, 0.50, "after"),
    (24, 0.80, "between"),
    (30, 0.85, "before"),  # never back to 0.891
    (30, 0.845, "after"),  # less than 1 % lost
    (40, 0.88, "between"),
]


def points(curve: list[tuple[int, float, str]]) -> list[Point]:
    return [Point(*point) for point in curve]


def test_steps_and_areas_of_a_curve() -> None:
    first, second, third = recoveries(points(CURVE))
    assert (first.step, first.before, first.after, first.steps_to_regain, first.steps) == (10, 0.90, 0.70, 4, 10)
    assert first.area == pytest.approx((2 * 0.75 + 2 * 0.8475 + 6 * 0.8975) / 10)
    assert (second.before, second.after, second.steps_to_regain) == (0.90, 0.50, None)
    assert second.area == pytest.approx((4 * 0.65 + 6 * 0.825) / 10)
    assert (third.steps_to_regain, third.steps) == (0, 10)
    assert third.area == pytest.approx(0.8625)


def test_the_summary_weighs_areas_by_their_steps() -> None:
    found = recoveries(points([*CURVE, (70, 0.88, "between")]))
    summary = summarize(found)
    assert (summary["updates"], summary["regained"], summary["mean_steps_to_regain"]) == (3, 2, 2.0)
    assert summary["mean_drop"] == pytest.approx((0.2 + 0.4 + 0.005) / 3)
    spans = [(2 * 0.75 + 2 * 0.8475 + 6 * 0.8975), (4 * 0.65 + 6 * 0.825), 8.625 + 30 * 0.88]
    assert summary["area"] == pytest.approx(sum(spans) / 60)


def test_the_point_just_before_the_next_update_may_be_the_regained_one() -> None:
    curve = [(1, 0.8, "before"), (1, 0.5, "after"), (5, 0.8, "before"), (5, 0.1, "after")]
    first, second = recoveries(points(curve))
    assert first.steps_to_regain == 4
    assert second == Recovery(step=5, before=0.8, after=0.1, steps_to_regain=None, area=None, steps=0)


def test_a_negative_metric_is_regained_near_what_it_was() -> None:
    curve = [(1, -0.5, "before"), (1, -0.6, "after"), (2, -0.51, "between"), (3, -0.504, "between")]
    assert recoveries(points(curve))[0].steps_to_regain == 2


def test_an_update_that_helps_is_regained_at_once() -> None:
    assert recoveries(points([(1, 0.5, "before"), (1, 0.6, "after")]))[0].steps_to_regain == 0


def test_a_run_without_updates_has_no_recovery() -> None:
    assert recoveries(points([(7, 0.5, "between")])) == []
    assert summarize([]) == {
        "updates": 0,
        "regained": 0,
        "mean_steps_to_regain": None,
        "mean_drop": None,
        "area": None,
    }


def test_an_undefined_metric_neither_falls_nor_comes_back() -> None:
    look: dict[str, float | None] = {"metric": None, "output_snr_db": 3.0, "cka": 0.5, "cosine": 0.5}
    weights = {"snr_db": 3.0, "below": 0.0, "hoyer": 0.5, "layers": {}}
    update = {"weights": weights, "before": look, "after": look, "seconds": 0.1}
    log = [{"step": 1, "wanted": 0.5, "sparsity": 0.5}, {"step": 1, "analysis": update}]
    report = analysis_report(log, {"metric": None}, metric="f1", rows=2, representation="mean")
    assert report.updates[0].recovery == UpdateRecovery(steps_to_regain=None, area=None, steps=None)
    assert report.final is not None
    assert (report.recovery.updates, report.final.metric) == (0, None)
