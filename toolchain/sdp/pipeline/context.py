"""The argument of a stage: the recipe, its run folder, a folder to fill, and a reporter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import PARTIAL, RunFolder
from sdp.recipe.sections import Recipe


@dataclass(frozen=True)
class StageContext:
    """The one argument of every stage.

    Attributes:
        recipe: the recipe.
        run: its run folder, with the finished stages before this one.
        target: the folder that the stage fills; it may hold files of an interrupted attempt.
        reporter: shows progress.
        deadline: when a training stops with a checkpoint, by `time.monotonic`; None: never.
    """

    recipe: Recipe
    run: RunFolder
    target: Path
    reporter: Reporter
    deadline: float | None = None

    @property
    def stage(self) -> str:
        """Name of the stage's folder."""
        return self.target.name.removesuffix(PARTIAL)
