"""Tables of text: as Markdown, and printed at full width unless the terminal is narrower."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from sdp.pipeline.progress import result_console
from sdp_onnx.bench.interval import Interval, Undefined

WIDEST = 500
UNDEFINED = "undefined"


def number_text(value: float | Interval | Undefined | None, digits: int = 3) -> str:
    """A number, or the value of an interval, with so many decimals, without a minus before zero; a word for none."""
    if isinstance(value, Interval):
        value = value.value
    if value is None or isinstance(value, Undefined):
        return UNDEFINED
    return f"{0.0 + round(value, digits):.{digits}f}"


def spread_text(score: Interval | Undefined, digits: int = 3) -> str:
    """The ends of an interval; empty where it is undefined."""
    if isinstance(score, Undefined):
        return ""
    return f"{number_text(score.low, digits)} to {number_text(score.high, digits)}"


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
