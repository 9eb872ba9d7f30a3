"""The one type of intervals and its JSON form."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from sdp_onnx.bench.interval import Interval, Undefined


def test_the_keys_of_both_forms() -> None:
    assert Interval(0.5, 0.25, 0.75).to_json() == asdict(Interval(0.5, 0.25, 0.75))
    assert Undefined("no row").to_json() == {"value": None, "low": None, "high": None, "undefined": "no row"}


@pytest.mark.parametrize(("value", "inside"), [(0.2, False), (0.25, True), (0.5, True), (0.75, True), (0.8, False)])
def test_an_interval_contains_its_ends(value: float, inside: bool) -> None:
    assert Interval(0.5, 0.25, 0.75).contains(value) is inside
