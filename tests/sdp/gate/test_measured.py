"""What is said first of a metrics.json: how much changed, what lost most, and what the numbers are worth."""

from __future__ import annotations

from typing import Any

import pytest

from sdp.gate.measured import changed_sentence, constant_sentence, remarks
from sdp.pipeline.artifacts.comparison import ExportMetrics
from support.artifacts import UNDEFINED, around, export_metrics, of_class, scores


def metrics(**changes: Any) -> ExportMetrics:
    whole = {
        **scores(around(0.8), around(0.7), around(0.1)),
        "flips": 257,
        "predictions": 1600,
        "classes": [of_class("scipy", 0.9, 0.8), of_class("torch", 0.91, 0.67), of_class("sympy", 0.5, 0.6)],
        "constant": constant(0.3, 0.2, 0.4),
    }
    return export_metrics(**{**whole, **changes})


def constant(value: float, low: float, high: float) -> dict[str, Any]:
    gain = {"value": value, "low": low, "high": high}
    return {"answer": 'always answering "scipy"', "value": 0.5, "gain": gain}


def test_the_class_that_lost_most_is_named_with_the_number_of_changes() -> None:
    assert changed_sentence(metrics()) == '257 of 1,600 predictions changed; "torch" lost most: F1 0.910 -> 0.670'
    gained = metrics(flips=3, classes=[of_class("a", 0.5, 0.6), of_class("b", 0.5, 0.5 - 1e-16)])
    assert changed_sentence(gained) == "3 of 1,600 predictions changed; F1 fell in no class"
    assert changed_sentence(metrics(classes=[of_class("c", None, None)])) == "257 of 1,600 predictions changed"
    assert changed_sentence(metrics(flips=None, classes=[])) == "", "scores all move a little"


def test_what_makes_numbers_worth_less_is_remarked() -> None:
    assert remarks(metrics()) == []
    assert constant_sentence(metrics()).startswith('better than always answering "scipy": accuracy 0.800 against 0.500')
    (line,) = remarks(metrics(constant=constant(0.01, -0.02, 0.04)))
    assert line == (
        'the dense model on test is not shown to be better than always answering "scipy": accuracy 0.510 against '
        "0.500, difference 0.010 [-0.020, 0.040]"
    )
    nothing = {**UNDEFINED, "undefined": "no label is of the positive class"}
    unknown = {**constant(0.3, 0.2, 0.4), "gain": nothing}
    undefined = metrics(metric="f1", **scores(nothing, nothing, nothing), constant=unknown)
    assert remarks(undefined) == ["f1 on test is undefined (dense, exported): no label is of the positive class"]
    assert remarks(metrics(metric="macro-f1", classes_without_rows=["pandas"])) == [
        "macro-f1 is the mean over 3 classes; no row is of pandas"
    ]


@pytest.mark.parametrize("flips", [0, 12])
def test_no_class_at_all_is_no_error(flips: int) -> None:
    assert changed_sentence(metrics(flips=flips, classes=[])) == f"{flips} of 1,600 predictions changed"
