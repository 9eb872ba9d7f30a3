"""Tables of text: as Markdown, and printed as wide as they need where nobody's screen is too narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from sdp.console import result_console

WIDEST = 500


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int) -> list[str]:
    """The lines of a Markdown table; the first `labels` columns to the left, the others to the right."""
    marks = ["---"] * labels + ["---:"] * (len(header) - labels)
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in [header, marks, *rows]]


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], labels: int, below: Sequence[str]
) -> None:
    """Print a table on stdout, aligned as `markdown_table` does, with lines below it."""
    # Text: labels such as [1, 2] are no markup.
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
