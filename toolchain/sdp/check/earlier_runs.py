"""What stages took in finished runs of the same model and data: of this run folder, or of those beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sdp.check.duration import DurationEstimate
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import RUN_FILE, RunFolder
from sdp.pipeline.stages import FINETUNE, Stage, stages_of
from sdp.recipe.base import TrainingSection
from sdp.recipe.sections import Recipe
from sdp.training.steps import optimizer_steps

_MOST_RUNS = 50
# What decides the time of an optimizer step, besides model and data.
_STEP_SETTINGS = {"finetune": ("batch_size", "precision"), "prune": ("batch_size", "precision", "losses", "criterion")}


def earlier_estimates(
    recipe: Recipe, run: RunFolder, identities: Mapping[str, Mapping[str, str]], rows: int
) -> dict[str, DurationEstimate]:
    """What each stage took in the newest run that did the same work, training scaled by its steps.

    Args:
        recipe: the recipe.
        run: its run folder.
        identities: of model and data, as `pipeline.input_identities` gives them.
        rows: training rows.

    Returns:
        stage -> its estimate; without the stages that no earlier run tells of.
    """
    found: dict[str, DurationEstimate] = {}
    for earlier in _runs(run):
        first = earlier.record(FINETUNE.folder)
        if first is None or not _same_inputs(recipe, first, identities, own=earlier.path == run.path):
            continue
        for stage in stages_of(recipe):
            if stage.name not in found and (seconds := _seconds(recipe, earlier, stage, rows)) is not None:
                found[stage.name] = DurationEstimate(seconds, "earlier run")
    return found


def _runs(run: RunFolder) -> Iterator[RunFolder]:
    """This run folder, then those beside it, the newest first."""
    others = sorted(file for file in run.path.parent.glob(f"*/{RUN_FILE}") if file.parent != run.path)
    newest = sorted(others, key=lambda file: file.stat().st_mtime_ns, reverse=True)[:_MOST_RUNS]
    yield run
    yield from (RunFolder(file.parent) for file in newest)


def _same_inputs(
    recipe: Recipe, record: Mapping[str, Any], identities: Mapping[str, Mapping[str, str]], *, own: bool
) -> bool:
    """Whether a run's model, task and longest input are the recipe's; its data too, unless it is this recipe's run."""
    inputs, settings = (_table(_table(record, "ingredients"), key) for key in ("inputs", "settings"))
    return (
        inputs.get("model") == identities["model"]
        and (own or inputs.get("data") == identities["data"])
        and ("vocabulary" in inputs) == (recipe.vocabulary is not None)
        and _table(settings, "data").get("max_length") == recipe.data.max_length
        and _table(settings, "task").get("type") == recipe.task.type
    )


def _seconds(recipe: Recipe, earlier: RunFolder, stage: Stage, rows: int) -> float | None:
    """What a stage would take, going by an earlier run; None where that did other work, or was interrupted."""
    record = earlier.record(stage.folder)
    if record is None or record.get("resumed") is not False or not isinstance(record.get("seconds"), int | float):
        return None
    seconds = float(record["seconds"])
    settings = _table(_table(record, "ingredients"), "settings")
    if stage.name in _STEP_SETTINGS:
        now: TrainingSection = getattr(recipe, stage.name)
        shown = now.model_dump(mode="json")
        then = _table(settings, stage.name)
        if any(then.get(key) != shown[key] for key in _STEP_SETTINGS[stage.name]):
            return None
        before = _steps(earlier.path, then)
        return None if before is None else seconds * optimizer_steps(rows, now) / before
    changed = stage.name == "bench" and _table(settings, "bench") != recipe.bench.model_dump(mode="json")
    return None if changed else seconds


def _steps(path: Path, settings: Mapping[str, Any]) -> int | None:
    """Optimizer steps of a training stage of an earlier run."""
    rows = _table(read_json(path / FINETUNE.folder / "metrics.json") or {}, "rows").get("train")
    keys = {key: settings.get(key) for key in ("epochs", "batch_size")}
    try:
        return optimizer_steps(rows, TrainingSection.model_validate(keys)) if isinstance(rows, int) else None
    except ValidationError:
        return None


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table within one; an empty one where a file, which may be damaged, has something else."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}
