"""The interface of a section of the report, and its access to the run folder.

A new section is a module in `sections/` with a function `section(files)`, a template of the same name beside it, and a
row in `page.SECTIONS`. The files that it reads belong into the report's row in `pipeline.stages.STAGES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sdp.pipeline.run_folder import RunFolder
from sdp.recipe.sections import Recipe


@dataclass(frozen=True)
class ReportSection:
    """One section of the page.

    Attributes:
        title: its heading.
        template: the file in this package that lays it out, without the heading.
        values: what the template shows, by the name that it has there.
    """

    title: str
    template: str
    values: Mapping[str, object]


@dataclass(frozen=True)
class RunFiles:
    """The files of a finished run."""

    recipe: Recipe
    run: RunFolder
