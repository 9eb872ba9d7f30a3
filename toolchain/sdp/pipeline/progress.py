"""Progress on stderr: rich progress bars on a terminal, plain lines elsewhere.

stdout carries results only, so that `--json` can be piped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

PLAIN_INTERVAL_SECONDS = 15.0
PLAIN_WIDTH = 150


class Task:
    """One piece of work with a known number of steps."""

    def __init__(self, reporter: Reporter, title: str, total: int) -> None:
        self._reporter = reporter
        self._title = title
        self._total = total
        self._done = 0
        self._started = self._last_line = time.monotonic()
        self._first = 0
        self._bar: Progress | None = None

    def update(self, done: int, note: str = "") -> None:
        """Report the number of finished steps, and a note (a loss, a file)."""
        if self._done == 0 and done > 1:
            # Resumed work: steps of an earlier process do not count for this one's speed.
            self._first = done
        self._done = done
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, note=note)
            return
        now = time.monotonic()
        if now - self._last_line >= PLAIN_INTERVAL_SECONDS:
            self._last_line = now
            self._reporter.line(f"  {self._title}: {done}/{self._total}{self._left(now)} {note}".rstrip())

    def _left(self, now: float) -> str:
        if self._done <= self._first:
            return ""
        left = (now - self._started) / (self._done - self._first) * (self._total - self._done)
        return f", {left:.0f} s left"


def result_console() -> Console:
    """Return the console for results on stdout, as wide as the terminal, or as tables need without one."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=PLAIN_WIDTH)


class Reporter:
    """Writes progress for people to stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """Write one line."""
        self.console.print(text, markup=False)

    def heading(self, text: str) -> None:
        """Write one line that stands out on a terminal."""
        self.console.print(text, markup=False, style="bold")

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """Show the progress of a piece of work, with the time left."""
        task = Task(self, title, total)
        if not self.console.is_terminal:
            yield task
            return
        columns = (
            SpinnerColumn("line" if self.console.options.ascii_only else "dots"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            bar.add_task(title, total=total, note="")
            task._bar = bar
            yield task
