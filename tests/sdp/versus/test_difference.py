"""How a change reads."""

from __future__ import annotations

from sdp.versus.difference import Difference
from sdp.versus.table import differences_markdown


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
