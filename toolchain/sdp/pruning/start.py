"""A finished pruning that another one goes on from (`prune.start`): that it is one, and that it fits. No torch.

One of pattern "structured" left a smaller network, of which the weights are pruned as those of any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdp.errors import RecipeError
from sdp.pipeline.artifacts.kept_units import KeptUnits
from sdp.pipeline.artifacts.record import StageRecord
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import FINETUNE, PRUNE
from sdp.recipe.pruning import PruneSection

WHERE = "prune.start"
WEIGHTS = "model.safetensors"
FILES = (WEIGHTS, "masks.safetensors")


def start_identity(prune: PruneSection) -> dict[str, str]:
    """Hashes of the weights and masks that pruning goes on from.

    Raises:
        RecipeError: the folder is no finished pruning, or one with other settings than can be gone on from.
    """
    record = _record(prune)
    before = _settings(prune, record)
    if before["layers"] != prune.layers:
        has, wanted = (f"layers = {own}" if own else "all layers" for own in (before["layers"], prune.layers))
        what = f"it was pruned with {has}, and the recipe has {wanted}"
        hint = f"Set prune.layers = {before['layers']}." if before["layers"] else "Remove prune.layers."
        raise RecipeError(what, where=f"{WHERE} = {prune.start}", hint=hint)
    if before["pattern"] == "structured":
        compared = [f"the loss {loss.name}" for loss in prune.losses if loss.reads == "weights"]
        if prune.repair:
            compared.append("prune.repair")
        if compared:
            what = f"it has fewer heads and neurons than the dense network, and {compared[0]} compares their weights"
            raise RecipeError(what, where=f"{WHERE} = {prune.start}", hint=f"Remove {compared[0]}.")
        return {name: str(record["outputs"][name]["sha256"]) for name in (*FILES, KeptUnits.FILE)}
    # Of 0 there are no zeros of any kind.
    for key in ("scope", "pattern") if before["sparsity"] else ():
        if before[key] != getattr(prune, key):
            what = f'it was pruned with {key} = "{before[key]}", and the recipe has "{getattr(prune, key)}"'
            raise RecipeError(what, where=f"{WHERE} = {prune.start}", hint=f"Set prune.{key} to the same.")
    if before["sparsity"] >= prune.sparsity:
        what = f"it was pruned to {before['sparsity']:g}, and prune.sparsity = {prune.sparsity:g} is not higher"
        raise RecipeError(what, where=f"{WHERE} = {prune.start}", hint="Pruned weights stay pruned: go higher.")
    return {name: str(record["outputs"][name]["sha256"]) for name in FILES}


def starts_smaller(prune: PruneSection) -> bool:
    """Whether pruning goes on from a network from which units were removed."""
    return prune.start is not None and (Path(prune.start) / KeptUnits.FILE).exists()


def require_same_teacher(prune: PruneSection, run: RunFolder) -> None:
    """Require that the start was pruned from this run's fine-tuned model.

    Raises:
        RecipeError: it was pruned from another one.
    """
    before = _record(prune)["ingredients"]["inputs"]["finetune"][WEIGHTS]
    teacher = run.record(FINETUNE.folder)
    if teacher is None or before != teacher["outputs"][WEIGHTS]["sha256"]:
        what = "it was pruned from another fine-tuned model than this run's"
        hint = "Give the same seed, model, [vocabulary], task, data and [finetune] to both."
        raise RecipeError(what, where=f"{WHERE} = {prune.start}", hint=hint)


def _settings(prune: PruneSection, record: StageRecord) -> dict[str, Any]:
    """The settings of [prune] of a finished pruning that are read here."""
    try:
        settings = record["ingredients"]["settings"]["prune"]
        return {
            "scope": str(settings["scope"]),
            "pattern": str(settings["pattern"]),
            "sparsity": float(settings["sparsity"]),
            # Versions before this key kept all.
            "layers": settings.get("layers"),
        }
    except (KeyError, TypeError, ValueError):
        what = "its stage.json is damaged, or another version's"
        raise RecipeError(what, where=f"{WHERE} = {prune.start}", hint="Prune again, and start from that.") from None


def _record(prune: PruneSection) -> StageRecord:
    folder = Path(str(prune.start))
    record = RunFolder(folder.parent).record(folder.name)
    if record is None or record.get("stage") != "prune" or not record["outputs"].keys() >= set(FILES):
        hint = f"Give the folder {PRUNE.folder} of a run that is pruned."
        raise RecipeError("is no finished pruning", where=f"{WHERE} = {folder}", hint=hint)
    return record
