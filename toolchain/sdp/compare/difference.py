"""A comparison: rows with a value before and after and the interval of their difference, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table

from sdp.gate.check import at_least
from sdp.report.tables import UNDEFINED, markdown_table
from sdp_onnx.bench.interval import Interval

Outcome = Literal["better", "worse", "no difference", "not compared"]


@dataclass(frozen=True)
class Difference:
    """A value of two runs.

    Attributes:
        what: the value's name.
        before, after: the value in each run; None where it is undefined.
        outcome: better or worse where the interval of the change leaves no doubt.
        how: the method of comparison, or why there is none.
        change: after - before, or after / before where `ratio`; None where it is not compared.
        low, high: its interval; None where it is exact or not compared.
        ratio: whether the change is a ratio.
        undefined: whether the value, or its interval, is undefined in a run, so that it cannot be compared.
    """

    what: str
    before: float | None
    after: float | None
    outcome: Outcome
    how: str
    change: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: bool = False
    undefined: bool = False

    def words(self) -> str:
        """The change as a person reads it."""
        if self.change is None:
            return ""
        if self.low is None or self.high is None:
            return self._shown(self.change)
        return f"{self._shown(self.change)} [{self._shown(self.low)}, {self._shown(self.high)}]"

    def _shown(self, value: float) -> str:
        # Adding 0.0 makes no zero negative.
        return f"x{value:.3g}" if self.ratio else f"{0.0 + round(value, 3):+.3f}"


def outcome_of(low: float, high: float, nothing: float, *, higher_is_better: bool) -> Outcome:
    """Which side of `nothing` (0 for a difference, 1 for a ratio) an interval lies on, rounding errors ignored."""
    if at_least(nothing, low) and at_least(high, nothing):
        return "no difference"
    return "better" if (low > nothing) == higher_is_better else "worse"


def not_compared(what: str, values: Sequence[float | None], why: str) -> Difference:
    """Two values, before and after, side by side."""
    return Difference(what, values[0], values[1], "not compared", why)


def by_ratio(what: str, values: Sequence[float], ratio: Interval, how: str) -> Difference:
    """Two costs, before and after, whose ratio has an interval."""
    outcome = outcome_of(ratio.low, ratio.high, 1, higher_is_better=False)
    return Difference(what, values[0], values[1], outcome, how, ratio.value, ratio.low, ratio.high, ratio=True)


HEADERS = ("", "before", "after", "change", "outcome", "how")


def differences_table(rows: Sequence[Difference], title: str) -> Table:
    """For a terminal."""
    table = Table(title=title, title_justify="left")
    for header in HEADERS:
        table.add_column(header, justify="right" if header in ("before", "after") else "left")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def differences_markdown(rows: Sequence[Difference], title: str) -> str:
    """For a pull request or a CI job's summary."""
    lines = markdown_table(HEADERS, [_cells(row) for row in rows], labels=len(HEADERS))
    return "\n".join([f"### {title}", "", *lines, ""])


def _cells(row: Difference) -> tuple[str, ...]:
    before, after = (UNDEFINED if value is None else f"{value:.4g}" for value in (row.before, row.after))
    return row.what, before, after, row.words(), row.outcome, row.how
