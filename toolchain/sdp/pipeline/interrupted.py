"""Describe an interrupted attempt at a stage: whether the next one resumes it, and if not, what changed."""

from __future__ import annotations

from typing import Any

from sdp.pipeline.difference import first_difference
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import CHECKPOINTS, STAGE_FILE, RunFolder
from sdp.pipeline.stages import Stage
from sdp.training.checkpoints import checkpoint_step, complete_checkpoints


def interrupted(run: RunFolder, stage: Stage, ingredients: dict[str, Any], fingerprint: str) -> str | None:
    """Describe the fate of an interrupted attempt at a stage; None without one.

    Args:
        run: the run folder.
        stage: the stage.
        ingredients: the inputs of the next attempt.
        fingerprint: their hash, which `RunFolder.begin` compares.
    """
    partial = run.partial(stage.folder)
    if not partial.is_dir():
        return None
    started = read_json(partial / STAGE_FILE) or {}
    if started.get("fingerprint") != fingerprint:
        change = first_difference(started["ingredients"], ingredients) if "ingredients" in started else None
        return f"interrupted before, starts anew: {change or 'what it was made from is not known'}"
    if not stage.resumes:
        return "interrupted before, starts anew: this stage keeps no part of its work"
    if not stage.ranks:
        return "interrupted before, will resume"
    whole = complete_checkpoints(partial / CHECKPOINTS)
    if not whole:
        return "interrupted before its first checkpoint, starts at step 0"
    return f"interrupted before, will resume from step {checkpoint_step(whole[-1])}"
