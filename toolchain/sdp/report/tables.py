"""Tables of text: as Markdown, and printed at full width unless the terminal is narrower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from sdp.pipeline.progress import result_console

WIDEST = 500
UNDEFINED = "undefined"


def number_text(value: float | None, digits: int = 3) -> str:
    """Format a number, without a minus before zero; "undefined" for None."""
    return UNDEFINED if value is None else f"{0.0 + round(value, digits):.{digits}f}"


def spread_text(estimate: Mapping[str, float | None], digits: int = 3) -> str:
    """Format the interval of an estimate; empty where it is undefined."""
    low, high = estimate["low"], estimate["high"]
    return "" if low is None or high is None else f"{number_text(low, digits)} to {number_text(high, digits)}"


def p_text(p: float | None) -> str:
    """Format a p-value; empty for None."""
    return "" if p is None else f"{p:.3g}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> list[str]:
    """Return the lines of a Markdown table; the first `labels` columns are left-aligned, the others right-aligned."""
    marks = ["---"] * labels + ["---:"] * (len(header) - labels)
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in [header, marks, *rows]]


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], labels: int, below: Sequence[str]
) -> None:
    """Print a table on stdout, aligned as `markdown_table` does, with lines below it."""
    # Text, because labels such as [1, 2] would be read as markup.
    table = Table(title=Text(title), title_justify="left")
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="left" if index < labels else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    console = result_console()
    if not console.is_terminal:
        widest = console.measure(table, options=console.options.update(width=WIDEST))
        console.width = max(console.width, widest.maximum)
    console.print(table)
    for line in below:
        console.print(line, markup=False)
