"""How a change reads."""

from __future__ import annotations

import pytest

from sdp.compare.difference import Difference, differences_markdown, outcome_of


def test_a_change_has_its_sign_and_nothing_is_not_negative() -> None:
    def words(change: float | None, low: float | None = None, high: float | None = None, *, ratio: bool = False) -> str:
        return Difference("what", 1, 1, "no difference", "how", change, low, high, ratio=ratio).words()

    assert words(-0.0, -0.0, -0.0004) == "+0.000 [+0.000, +0.000]"
    assert words(-0.0312, -0.05, 0.01) == "-0.031 [-0.050, +0.010]"
    assert words(0.56612, ratio=True) == "x0.566"
    assert words(1.00004, 0.98765, 1.0123, ratio=True) == "x1 [x0.988, x1.01]"
    assert words(None) == ""


def test_a_part_with_a_bar_in_its_name_stays_one_cell() -> None:
    row = Difference("accuracy on a|b", 1, 1, "no difference", "how")
    *_, header, marks, line, _ = differences_markdown([row], "title").split("\n")
    assert "| accuracy on a\\|b |" in line
    assert header.count("|") == marks.count("|") == line.replace("\\|", "").count("|") == 7


@pytest.mark.parametrize(
    ("low", "high", "nothing", "outcome"),
    [
        # Nothing but rounding on one side: 0.95 - 0.9 - 0.05, and 1.01 - 0.01 of a size.
        (1e-17, 0.1, 0, "no difference"),
        (-0.1, -6.9e-17, 0, "no difference"),
        (1.01 - 0.01 + 3e-16, 1.03, 1, "no difference"),
        (1e-6, 0.1, 0, "better"),
        (-0.1, -1e-6, 0, "worse"),
    ],
)
def test_rounding_makes_nothing_better_or_worse(low: float, high: float, nothing: float, outcome: str) -> None:
    assert outcome_of(low, high, nothing, higher_is_better=True) == outcome


def test_an_undefined_value_is_a_word() -> None:
    row = Difference(
        "f1 on test", None, 0.5, "not compared", "undefined: no label is of the positive class", undefined=True
    )
    assert "| f1 on test | undefined | 0.5 |  | not compared |" in differences_markdown([row], "title")
