"""The pipeline: which stages are up to date, and running those that are not.

A stage is a module with one function, `run(recipe, run, target, reporter)`: files in, files out, a short result
returned. It is up to date when its settings, its inputs (by hash), the code behind it and the libraries it uses are
those that its folder was made from.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sdp import ranks
from sdp.after_gate import gate_verdict, withhold
from sdp.code_version import code_hash, library_versions
from sdp.console import Reporter
from sdp.data.corpus import corpus_identity
from sdp.data.identity import data_identity
from sdp.errors import RunError
from sdp.models.source import locate_model
from sdp.prune_start import start_identity
from sdp.recipe.sections import Recipe
from sdp.run_folder import SCRATCH, RunFolder, outputs_of, remove_folder, temporary_files_in
from sdp.stage_table import VOCABULARY, Stage, find_stage, settings_of, stages_of
from sdp_onnx.manifest import file_sha256
from sdp_onnx.operator_library import library_identity


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
        return hashlib.sha256(json.dumps(self.ingredients, sort_keys=True).encode()).hexdigest()


def input_identities(recipe: Recipe, *, download: bool) -> dict[str, dict[str, str]]:
    """Hashes of what comes from outside: "model" and "data", "corpus" where [vocabulary] names files, and "start" where
    pruning goes on from another.

    Args:
        recipe: the recipe.
        download: fetch a hub model that is not here yet; otherwise a missing one is an error.
    """
    identities = {"model": locate_model(recipe.model, download=download).identity(), "data": data_identity(recipe)}
    if corpus := corpus_identity(recipe):
        identities["corpus"] = corpus
    if recipe.prune.start is not None:
        identities["start"] = start_identity(recipe.prune)
    return identities


def stage_status(stage: Stage, recipe: Recipe, run: RunFolder, identities: Mapping[str, dict[str, str]]) -> Status:
    """Compare what a stage would be made from with what its folder was made from."""
    inputs: dict[str, Any] = {name: identities[name] for name in ("model", "data") if getattr(stage, name)}
    inputs |= {name: identities[name] for name in ("corpus", "start") if getattr(stage, name) and name in identities}
    earlier = {upstream.name: upstream for upstream in stages_of(recipe)}
    for name, patterns in stage.reads.items():
        if name in earlier:
            inputs[name] = _outputs(run, earlier[name], patterns)
    ingredients = {**_own_ingredients(stage, recipe), "inputs": inputs}
    record = run.record(stage.folder)
    if record is None:
        if stage.after_pass and (said := gate_verdict(run)) not in (None, "pass"):
            return Status(stage, False, f"only when the gate passes; it says {said}", ingredients)
        reason = "interrupted before, will resume" if run.partial(stage.folder).exists() else "not done yet"
        return Status(stage, False, reason, ingredients)
    change = first_difference(record.get("ingredients", {}), ingredients)
    return Status(stage, change is None, change or "up to date", ingredients)


def _own_ingredients(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """What a stage is made from besides its inputs."""
    return {
        "seed": recipe.seed,
        "settings": settings_of(recipe, (stage,)),
        "code": code_hash(stage.module),
        "libraries": library_versions(stage.libraries)
        | ({"operator library": library_identity()} if stage.operators else {}),
    }


def cache_key(recipe: Recipe, identities: Mapping[str, dict[str, str]]) -> str:
    """A name for what a recipe's stages up to the gate are made from, under which a CI job keeps its run folder.

    The gate is one of them so that what it measured again is kept, too: a job that is started again gives the same
    verdict, and no fresh chance of a wrong one.

    Args:
        recipe: the recipe.
        identities: as `input_identities` gives them; empty where they are not known before the first run.
    """
    stages = stages_of(recipe, "gate")
    code = {stage.name: code_hash(stage.module) for stage in stages}
    libraries = library_versions(tuple(name for stage in stages for name in stage.libraries))
    content = [recipe.seed, settings_of(recipe, stages), identities, code, libraries, library_identity()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _outputs(run: RunFolder, stage: Stage, patterns: Iterable[str]) -> dict[str, str] | None:
    """Hashes of the files that a finished stage made and that match a pattern; None where it is not finished."""
    record = run.record(stage.folder)
    if record is None:
        return None
    wanted = tuple(patterns)
    return {
        name: output.get("sha256")
        for name, output in sorted(record["outputs"].items())
        if any(fnmatch(name, pattern) for pattern in wanted)
    }


def first_difference(before: Any, now: Any, path: str = "") -> str | None:
    """Name the first place where two JSON trees differ, in words; None where they are equal."""
    if before == now:
        return None
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            found = first_difference(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
            if found:
                return found
    name = path.removeprefix("settings.").removeprefix("inputs.")
    shown = f": {_short(before)} -> {_short(now)}" if path.startswith(("settings", "seed", "libraries")) else ""
    return f"{name} changed{shown}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def plan(recipe: Recipe, run: RunFolder, identities: Mapping[str, dict[str, str]]) -> list[Status]:
    """Say for every stage whether it would run, and why. A stage after one that runs is said to depend on it."""
    statuses: list[Status] = []
    stale: set[str] = set()
    for stage in stages_of(recipe):
        status = stage_status(stage, recipe, run, identities)
        waiting = [name for name in stage.reads if name in stale]
        if waiting and status.up_to_date:
            status = Status(stage, False, f"depends on {', '.join(waiting)}", status.ingredients)
        if not status.up_to_date:
            stale.add(stage.name)
        statuses.append(status)
    return statuses


def older_stages(recipe: Recipe, run: RunFolder) -> dict[str, str]:
    """Finished stages whose results are not of what recipe and run folder hold now: name -> why, in words."""
    statuses = plan(recipe, run, input_identities(recipe, download=False))
    return {
        status.stage.name: status.reason
        for status in statuses
        if not status.up_to_date and run.record(status.stage.folder) is not None
    }


StageFunction = Callable[[Recipe, RunFolder, Path, Reporter], dict[str, Any]]


def run_pipeline(recipe: Recipe, run: RunFolder, until: str, reporter: Reporter) -> dict[str, dict[str, Any]]:
    """Bring a stage, and all before it, up to date.

    Args:
        recipe: the recipe.
        run: its run folder, claimed and locked.
        until: name of the last stage wanted.
        reporter: shows what happens.

    Returns:
        stage name -> its record (stage.json), for every stage up to `until`; without those that only a passed gate
        allows, where it did not pass.
    """
    stages = stages_of(recipe, until)
    identities = input_identities(recipe, download=True)
    if recipe.vocabulary is None:
        _forget_vocabulary(run, reporter)
    if recipe.bench.provider == "cuda":
        _require_cuda_for_bench(stages, plan(recipe, run, identities))
    records: dict[str, dict[str, Any]] = {}
    for place, stage in enumerate(stages):
        if not any(later.ranks for later in stages[place:]):
            ranks.tell(None)
        if stage.after_pass and gate_verdict(run) != "pass":
            break
        run.repair(stage.folder)
        status = stage_status(stage, recipe, run, identities)
        if status.up_to_date:
            reporter.line(f"{stage.name:9} up to date")
        else:
            reporter.heading(f"{stage.name:9} runs ({status.reason})")
            _run_stage(status, recipe, run, reporter)
        _publish(run, stage)
        record = run.record(stage.folder)
        if record is None:
            raise RuntimeError(f"stage {stage.name} left no record in {run.stage(stage.folder)}")
        records[stage.name] = record
        if stage.name == "gate":
            withhold(run, reporter, wanted=stages[-1].after_pass)
    ranks.tell(None)
    return records


def _require_cuda_for_bench(stages: Sequence[Stage], statuses: Iterable[Status]) -> None:
    """See that the benchmark's execution provider is here, where it will run: now, and not after hours of training."""
    if any(status.stage in stages and status.stage.name == "bench" and not status.up_to_date for status in statuses):
        # Imported here: asking a question loads no onnxruntime.
        from sdp_onnx.session import require_cuda

        require_cuda()


def follow(recipe: Recipe, run: RunFolder) -> None:
    """What every rank but the first does: train along in the stages that the first runs, and write nothing.

    Raises:
        RunError: this rank has other code, libraries or settings than the first, or does not see its run folder.
    """
    while (said := ranks.listen()) is not None:
        stage, where = find_stage(said["stage"]), f"rank {ranks.rank()}"
        target = run.partial(stage.folder)
        if not target.is_dir():
            hint = "All machines need the same file system under the same path, and start in the same folder."
            raise RunError(f"does not see {target}, in which rank 0 works", where=where, hint=hint)
        ours = _own_ingredients(stage, recipe)
        if difference := first_difference(said["made from"], json.loads(json.dumps(ours))):
            raise RunError(f"is not like rank 0: {difference}", where=where, hint="Install the same on all machines.")
        function: StageFunction = importlib.import_module(stage.module).run
        function(recipe, run, target, Reporter(quiet=True))


def run_single(name: str, recipe: Recipe, run: RunFolder, reporter: Reporter) -> None:
    """Run one stage that reads neither model nor data on what the run folder holds, up to date or not."""
    stage = find_stage(name)
    _run_stage(stage_status(stage, recipe, run, {}), recipe, run, reporter)
    _publish(run, stage)
    if name == "gate":
        withhold(run, reporter, wanted=False)


def _publish(run: RunFolder, stage: Stage) -> None:
    for name in stage.publish:
        shutil.copyfile(run.stage(stage.folder) / name, run.path / name)


def _forget_vocabulary(run: RunFolder, reporter: Reporter) -> None:
    """Remove what an earlier version of the recipe trimmed: it is no part of this run."""
    folder = run.stage(VOCABULARY.folder)
    if folder.exists():
        reporter.line(f"the older {VOCABULARY.folder} is removed: the recipe has no [{VOCABULARY.name}] any more")
    remove_folder(folder)


def _run_stage(status: Status, recipe: Recipe, run: RunFolder, reporter: Reporter) -> None:
    stage = status.stage
    target = run.begin(stage.folder, status.fingerprint, resume=stage.resumes)
    if stage.ranks:
        ranks.tell({"stage": stage.name, "made from": _own_ingredients(stage, recipe)})
    started = time.monotonic()
    with temporary_files_in(run.path / SCRATCH):
        function: StageFunction = importlib.import_module(stage.module).run
        result = function(recipe, run, target, reporter)
    seconds = round(time.monotonic() - started, 1)
    outputs = {
        str(path.relative_to(target)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in outputs_of(target)
    }
    record = {
        "stage": stage.name,
        "result": result,
        "seconds": seconds,
        "fingerprint": status.fingerprint,
        "ingredients": status.ingredients,
        "outputs": outputs,
    }
    run.finish(stage.folder, record)
    words = ", ".join(f"{name} {_word(value)}" for name, value in result.items())
    reporter.line(f"{'':9} done in {seconds:.0f} s: {words}")


def _word(value: object) -> str:
    return "undefined" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
