"""A comparison as a table for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from sdp.compare.difference import Difference
from sdp.report.tables import UNDEFINED, markdown_table

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
