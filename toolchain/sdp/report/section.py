"""The interface of a section of the report, and its access to the run folder.

A new section is a module in `sections/` with a function `section(files)`, a template of the same name beside it, and a
row in `page.SECTIONS`. The files that it reads belong into the report's row in `stage_table.STAGES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe.sections import Recipe


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        title: its heading.
        template: its template in this package, without the heading.
        values: the values of the template.
    """

    title: str
    template: str
    values: dict[str, Any]


@dataclass(frozen=True)
class RunFiles:
    """The files of a finished run."""

    recipe: Recipe
    run: RunFolder

    def path(self, file: str) -> Path:
        """Return the path of a file of the run, such as "3-evaluate/flips.csv"."""
        return self.run.path / file

    def json(self, file: str) -> dict[str, Any]:
        """Read a JSON file.

        Raises:
            FileNotFoundError: it is missing or damaged.
        """
        content = self.optional(file)
        if content is None:
            raise FileNotFoundError(f"{self.path(file)} is missing or damaged")
        return content

    def optional(self, file: str) -> dict[str, Any] | None:
        """Read a JSON file that not every run has; None where it is missing."""
        return read_json(self.path(file))
