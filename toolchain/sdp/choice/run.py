"""Running one of several models in a run folder of its own, with the stages that it shares with another."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import CACHE, RunFolder, share_files
from sdp.pipeline.runner import run_pipeline
from sdp.pipeline.stages import stages_of
from sdp.recipe.sections import Recipe


@dataclass(frozen=True)
class Prepared:
    """A run to be made.

    Attributes:
        recipe_file: the recipe.
        overrides: of the recipe file, all of them.
        recipe: what they give.
        run: the run folder.
    """

    recipe_file: Path
    overrides: tuple[str, ...]
    recipe: Recipe
    run: RunFolder

    def bring_up_to_date(
        self,
        until: str,
        reporter: Reporter,
        *,
        source: RunFolder | None = None,
        shared: str = "finetune",
        preflight: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Bring the run up to date; files that it shares are linked.

        Args:
            until: name of the last stage.
            reporter: shows what happens.
            source: the run to take stages and teacher outputs from; None: from none.
            shared: the last stage to take.
            preflight: go through all stages in seconds before the first that trains.
            deadline: when a training stops with a checkpoint, by `time.monotonic`; None: never.

        Raises:
            OutOfTimeError: the deadline came during a training.
            StoppedError: a signal came.
            SdpError: a stage failed, or another process works in the folder.
        """
        with self.run.at_work(self.recipe.name, self.recipe_file, self.overrides):
            if source is not None:
                for stage in stages_of(self.recipe, shared):
                    self.run.take(source, stage.folder)
                share_files(source.path / CACHE, self.run.path / CACHE)
            try:
                run_pipeline(self.recipe, self.run, until, reporter, preflight=preflight, deadline=deadline)
            finally:
                if source is not None:
                    share_files(self.run.path / CACHE, source.path / CACHE)
        # Trainer and model refer to each other; the next run needs their memory.
        gc.collect()
