"""Run one stage, and finish its folder with a record of its ingredients and outputs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sdp.distributed import ranks
from sdp.pipeline.artifacts.record import OutputFile, StageRecord, StageResult
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import SCRATCH, STAGE_FILE, RunFolder, outputs_of, temporary_files_in
from sdp.pipeline.stages import Stage
from sdp.recipe.sections import Recipe, RuntimeSection
from sdp_onnx.deploy.manifest import file_sha256

StageFunction = Callable[[StageContext], StageResult]


@dataclass(frozen=True)
class Status:
    """Whether a stage is up to date, and if not, why it will run."""

    stage: Stage
    up_to_date: bool
    reason: str
    ingredients: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of everything the stage is made from."""
        return fingerprint(self.ingredients)


def fingerprint(ingredients: dict[str, Any]) -> str:
    """Hash of everything a stage is made from."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def run_stage(
    status: Status,
    function: StageFunction,
    recipe: Recipe,
    run: RunFolder,
    reporter: Reporter,
    deadline: float | None = None,
) -> None:
    """Run a stage, with the other ranks where it trains, and finish its folder.

    Args:
        status: the stage, and what it is made from.
        function: the stage's.
        recipe: the recipe.
        run: the run folder.
        reporter: shows what happens.
        deadline: see `StageContext`.
    """
    stage = status.stage
    target = run.begin(stage.folder, status.fingerprint, resume=stage.resumes, ingredients=status.ingredients)
    resumed = any(path.name != STAGE_FILE for path in target.iterdir())
    if stage.ranks:
        made_from = {name: value for name, value in status.ingredients.items() if name != "inputs"}
        work = {"run": str(run.path), "recipe": recipe.model_dump(mode="json")}
        ranks.send({"stage": stage.name, "made from": made_from, **work})
    started = time.monotonic()
    with temporary_files_in(run.path / SCRATCH), stage_threads(stage, recipe.runtime):
        result = function(StageContext(recipe, run, target, reporter, deadline))
    seconds = round(time.monotonic() - started, 1)
    outputs: dict[str, OutputFile] = {
        str(path.relative_to(target)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in outputs_of(target)
    }
    record: StageRecord = {
        "stage": stage.name,
        "result": result,
        # The time of the last attempt alone, if an earlier one was interrupted.
        "seconds": seconds,
        "resumed": resumed,
        "fingerprint": status.fingerprint,
        "ingredients": status.ingredients,
        "outputs": outputs,
    }
    run.finish(stage.folder, record)
    words = ", ".join(f"{name} {_word(value)}" for name, value in result.items())
    reporter.line(f"{'':9} done in {seconds:.0f} s: {words}")


def _word(value: object) -> str:
    return "undefined" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def stage_threads(stage: Stage, runtime: RuntimeSection) -> Iterator[None]:
    """Let torch use runtime.threads threads for the length of a stage; a stage without torch does not load it.

    Of an operator, that is: nothing here runs several operators at once, for which torch has other threads.
    """
    if runtime.threads is None or "torch" not in stage.libraries:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(runtime.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
