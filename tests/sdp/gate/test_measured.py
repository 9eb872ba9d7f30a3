"""What is said first of a metrics.json: how much changed, what lost most, and what the numbers are worth."""

from __future__ import annotations

from typing import Any

import pytest

from sdp.gate.measured import changed_sentence, constant_sentence, remarks


def of_class(name: str, dense: float, exported: float) -> dict[str, Any]:
    values = {"dense": dense, "exported": exported, "drop": dense - exported}
    return {"class": name, "f1": {key: {"value": value} for key, value in values.items()}}


def record(**changes: Any) -> dict[str, Any]:
    gain = {"value": 0.3, "low": 0.2, "high": 0.4}
    whole = {
        "metric": "accuracy",
        "split": "test",
        "mean_over": None,
        "models": {"dense": {"value": 0.8}, "exported": {"value": 0.7}},
        "flips": 257,
        "predictions": 1600,
        "classes": [of_class("scipy", 0.9, 0.8), of_class("torch", 0.91, 0.67), of_class("sympy", 0.5, 0.6)],
        "classes_without_rows": [],
        "constant": {"answer": 'always answering "scipy"', "value": 0.5, "gain": gain},
    }
    return {**whole, **changes}


def test_the_class_that_lost_most_is_named_with_the_number_of_changes() -> None:
    assert changed_sentence(record()) == '257 of 1,600 predictions changed; "torch" lost most: F1 0.910 -> 0.670'
    gained = record(flips=3, classes=[of_class("a", 0.5, 0.6), of_class("b", 0.5, 0.5 - 1e-16)])
    assert changed_sentence(gained) == "3 of 1,600 predictions changed; F1 fell in no class"
    unknown = {"class": "c", "f1": {key: {"value": None} for key in ("dense", "exported", "drop")}}
    assert changed_sentence(record(classes=[unknown])) == "257 of 1,600 predictions changed"
    assert changed_sentence(record(flips=None, classes=[])) == "", "scores all move a little"


def test_what_makes_numbers_worth_less_is_remarked() -> None:
    assert remarks(record()) == []
    assert constant_sentence(record()).startswith('better than always answering "scipy": accuracy 0.800 against 0.500')
    poor = record()
    poor["constant"]["gain"] = {"value": 0.01, "low": -0.02, "high": 0.04}
    (line,) = remarks(poor)
    assert line == (
        'the dense model on test is not shown to be better than always answering "scipy": accuracy 0.510 against '
        "0.500, difference 0.010 [-0.020, 0.040]"
    )
    nothing = {"value": None, "undefined": "no label is of the positive class"}
    undefined = record(metric="f1", models={"dense": nothing, "exported": nothing})
    undefined["constant"]["gain"] = {**nothing, "low": None, "high": None}
    assert remarks(undefined) == ["f1 on test is undefined (dense, exported): no label is of the positive class"]
    assert remarks(record(metric="macro-f1", classes_without_rows=["pandas"])) == [
        "macro-f1 is the mean over 3 classes; no row is of pandas"
    ]


@pytest.mark.parametrize("flips", [0, 12])
def test_no_class_at_all_is_no_error(flips: int) -> None:
    assert changed_sentence(record(flips=flips, classes=[])) == f"{flips} of 1,600 predictions changed"
