"""Why a stage runs again: the first difference between two JSON trees, and the state of an interrupted attempt."""

from __future__ import annotations

import json
from typing import Any

from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import CHECKPOINTS, STAGE_FILE, RunFolder
from sdp.pipeline.stages import Stage
from sdp.training.checkpoints import checkpoint_step, complete_checkpoints

# Of these, the values are shown; of the others, hashes, that they differ.
_SHOWN = ("settings", "seed", "libraries")


def first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Describe the first difference of two JSON trees; None where they are equal."""
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            found = first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
    name = path.removeprefix("settings.").removeprefix("inputs.")
    shown = f": {_short(before)} -> {_short(now)}" if path.startswith(_SHOWN) else ""
    return f"{name} changed{shown}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
