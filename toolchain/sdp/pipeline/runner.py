"""The pipeline: check which stages are up to date, and run the others.

A stage is a module with one function, `run(context)`: files in, files out, a short result returned. It is up to date
when its settings, its inputs (by hash), the code behind it and the libraries it uses are those that its folder was made
from.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from sdp.data.corpus import corpus_identity
from sdp.data.identity import data_identity
from sdp.data.unlabeled import unlabeled_identity
from sdp.distributed import ranks
from sdp.errors import RunError
from sdp.models.architectures import require_architecture
from sdp.models.parts import require_more_layers
from sdp.models.positions import require_positions
from sdp.models.source import locate_model
from sdp.pipeline.absent_libraries import require_training_libraries, with_absent_libraries
from sdp.pipeline.artifacts.record import StageRecord, StageResult
from sdp.pipeline.changes import first_difference, interrupted
from sdp.pipeline.context import StageContext
from sdp.pipeline.fingerprint import code_hash
from sdp.pipeline.gate_verdict import gate_verdict, withhold
from sdp.pipeline.libraries import library_versions
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import SCRATCH, RunFolder, remove_folder, temporary_files_in
from sdp.pipeline.stage_run import StageFunction, Status, fingerprint, run_stage, stage_threads
from sdp.pipeline.stages import PREFLIGHT, VOCABULARY, Stage, find_stage, resolved_settings, stages_of
from sdp.preflight.settings import reduced
from sdp.pruning.start import start_identity
from sdp.pruning.teacher_source import teacher_identity
from sdp.recipe.sections import Recipe
from sdp_onnx.operators.library import library_identity, library_path


def input_identities(recipe: Recipe, *, download: bool) -> dict[str, dict[str, str]]:
    """Hashes of what comes from outside: "model" and "data"; where the recipe names them, "corpus" and "unlabeled", the
    files of [vocabulary] and of data.unlabeled, "start", the pruning to go on from, and "teacher", the other network.

    Args:
        recipe: the recipe.
        download: fetch a hub model that is not here yet; otherwise a missing one is an error.
    """
    identities = {"model": locate_model(recipe.model, download=download).identity(), "data": data_identity(recipe)}
    if corpus := corpus_identity(recipe):
        identities["corpus"] = corpus
    if unlabeled := unlabeled_identity(recipe):
        identities["unlabeled"] = unlabeled
    if recipe.prune.start is not None:
        identities["start"] = start_identity(recipe.prune)
    if recipe.prune.teacher is not None:
        identities["teacher"] = teacher_identity(recipe, download=download)
    return identities


def stage_status(stage: Stage, recipe: Recipe, run: RunFolder, identities: Mapping[str, dict[str, str]]) -> Status:
    """Compare a stage's current ingredients with those of its folder."""
    inputs: dict[str, Any] = {name: identities[name] for name in ("model", "data") if getattr(stage, name)}
    inputs |= {
        name: identities[name]
        for name in ("corpus", "unlabeled", "start", "teacher")
        if getattr(stage, name) and name in identities
    }
    earlier = {upstream.name: upstream for upstream in stages_of(recipe)}
    for name, patterns in stage.reads.items():
        if name in earlier:
            inputs[name] = _outputs(run, earlier[name], patterns)
    ingredients = {**_own_ingredients(stage, recipe), "inputs": inputs}
    record = run.record(stage.folder)
    if record is None:
        if stage.after_pass and (verdict := gate_verdict(run)) not in (None, "pass"):
            return Status(stage, False, f"only when the gate passes; its verdict is {verdict}", ingredients)
        return Status(stage, False, _interrupted(stage, run, ingredients) or "not done yet", ingredients)
    before = record.get("ingredients", {})
    ingredients["libraries"] = with_absent_libraries(ingredients["libraries"], before, stage)
    change = first_difference(before, ingredients)
    if change is not None and (attempt := _interrupted(stage, run, ingredients)):
        change = f"{change}; {attempt}"
    return Status(stage, change is None, change or "up to date", ingredients)


def _interrupted(stage: Stage, run: RunFolder, ingredients: dict[str, Any]) -> str | None:
    return interrupted(run, stage, ingredients, fingerprint(ingredients))


def _own_ingredients(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """Return the ingredients of a stage besides its inputs."""
    if stage is PREFLIGHT:
        recipe = reduced(recipe)
    return {
        "seed": recipe.seed,
        "settings": resolved_settings(recipe, (stage,)),
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
    content = [recipe.seed, resolved_settings(recipe, stages), identities, code, libraries, library_identity()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _outputs(run: RunFolder, stage: Stage, patterns: Iterable[str]) -> dict[str, str] | None:
    """Return hashes of a finished stage's files that match a pattern; None for an unfinished stage."""
    record = run.record(stage.folder)
    if record is None:
        return None
    wanted = tuple(patterns)
    return {
        name: output.get("sha256")
        for name, output in sorted(record["outputs"].items())
        if any(fnmatch(name, pattern) for pattern in wanted)
    }


def plan(recipe: Recipe, run: RunFolder, identities: Mapping[str, dict[str, str]]) -> list[Status]:
    """Return the status of every stage: whether it would run, and why. A stage after one that runs depends on it."""
    statuses: list[Status] = []
    stale: set[str] = set()
    for stage in stages_of(recipe):
        status = stage_status(stage, recipe, run, identities)
        waiting = [name for name in stage.reads if name in stale]
        begun = run.partial(stage.folder).is_dir()
        if waiting and (status.up_to_date or begun):
            # Whether an interrupted attempt is good for anything shows when what it was made from is made again.
            before = "interrupted before; " if begun else ""
            status = Status(stage, False, f"{before}depends on {', '.join(waiting)}", status.ingredients)
        if not status.up_to_date:
            stale.add(stage.name)
        statuses.append(status)
    return statuses


def preflight_status(
    recipe: Recipe, run: RunFolder, identities: Mapping[str, dict[str, str]], statuses: Iterable[Status]
) -> Status | None:
    """Whether the preflight would run before these stages; None where none of them trains, or the recipe has none."""
    if not recipe.runtime.preflight or all(status.up_to_date for status in statuses if status.stage.ranks):
        return None
    return stage_status(PREFLIGHT, recipe, run, identities)


def older_stages(recipe: Recipe, run: RunFolder) -> dict[str, str]:
    """Return finished stages with outdated results: name -> reason."""
    statuses = plan(recipe, run, input_identities(recipe, download=False))
    return {
        status.stage.name: status.reason
        for status in statuses
        if not status.up_to_date and run.record(status.stage.folder) is not None
    }


def run_pipeline(
    recipe: Recipe,
    run: RunFolder,
    until: str,
    reporter: Reporter,
    *,
    preflight: bool = True,
    deadline: float | None = None,
) -> dict[str, StageRecord]:
    """Bring a stage, and all before it, up to date.

    Args:
        recipe: the recipe.
        run: its run folder, claimed and locked.
        until: name of the last stage wanted.
        reporter: shows what happens.
        preflight: go through all stages once in seconds before the first one that trains, where `until` is the export
            or after it.
        deadline: when a training stops with a checkpoint, by `time.monotonic`; None: never.

    Returns:
        stage name -> its record (stage.json), for every stage up to `until`; without those that only a passed gate
        allows, where it did not pass.

    Raises:
        OutOfTimeError: the deadline came during a training.
    """
    stages = stages_of(recipe, until)
    identities = input_identities(recipe, download=True)
    _require_possible(recipe, run, stages, identities)
    if recipe.vocabulary is None:
        _forget_vocabulary(run, reporter)
    records: dict[str, StageRecord] = {}
    preflight = preflight and any(stage.name == "export" for stage in stages)
    for place, stage in enumerate(stages):
        if not any(later.ranks or later is PREFLIGHT for later in stages[place:]):
            ranks.send(None)
        if stage.after_pass and gate_verdict(run) != "pass":
            break
        run.repair(stage.folder)
        status = stage_status(stage, recipe, run, identities)
        if status.up_to_date:
            reporter.line(f"{stage.name:9} up to date")
        else:
            if preflight and stage.ranks:
                _preflight(recipe, run, identities, status, reporter)
                preflight = False
            _bring_up_to_date(status, recipe, run, reporter, deadline)
        _publish(run, stage)
        record = run.record(stage.folder)
        if record is None:
            raise RuntimeError(f"stage {stage.name} left no record in {run.stage(stage.folder)}")
        records[stage.name] = record
        if stage.name == "gate":
            withhold(run, reporter, wanted=stages[-1].after_pass)
    ranks.send(None)
    return records


def _require_possible(
    recipe: Recipe, run: RunFolder, stages: Sequence[Stage], identities: Mapping[str, dict[str, str]]
) -> None:
    """Require now what a stage would miss after hours: a model that fits, CUDA to measure on, the operator library."""
    model = locate_model(recipe.model)
    require_architecture(model)
    require_positions(recipe, model)
    require_more_layers(recipe.prune.layers, model)
    statuses = plan(recipe, run, identities)
    on_cuda = any(_will_run(name, stages, statuses) for name in _stages_on_cuda(recipe))
    other = recipe.bench.runtime != "onnxruntime" and _will_run("bench", stages, statuses)
    if on_cuda or other:
        # Imported here: asking a question loads no onnxruntime.
        from sdp_onnx.runtimes.registry import RUNTIMES

        RUNTIMES[recipe.bench.runtime].require(recipe.bench.provider)
    if recipe.times_operators and _will_run("prune", stages, statuses):
        library_path()


def _bring_up_to_date(
    status: Status, recipe: Recipe, run: RunFolder, reporter: Reporter, deadline: float | None = None
) -> None:
    if status.stage is PREFLIGHT:
        from sdp.data.load import load_task_data

        # The stages after it need all of this as well: it is no part of the preflight's time.
        reporter.line("reading the data")
        with temporary_files_in(run.path / SCRATCH):
            load_task_data(recipe)
            importlib.import_module(PREFLIGHT.module)
    reporter.heading(f"{status.stage.name:9} runs ({status.reason})")
    require_training_libraries(status.stage)
    run_stage(status, _function(status.stage), recipe, run, reporter, deadline)


def _preflight(
    recipe: Recipe, run: RunFolder, identities: Mapping[str, dict[str, str]], following: Status, reporter: Reporter
) -> None:
    """Run the preflight before a stage that trains, unless it is up to date or the recipe has none."""
    status = preflight_status(recipe, run, identities, [following])
    if status is not None and not status.up_to_date:
        _bring_up_to_date(status, recipe, run, reporter)


def _stages_on_cuda(recipe: Recipe) -> tuple[str, ...]:
    """The stages that run a file with onnxruntime's CUDA provider."""
    if recipe.bench.provider != "cuda":
        return ()
    timed = ("prune",) if recipe.prune.target_speedup is not None else ()
    scored = ("export",) if recipe.export_provider == "cuda" else ()
    return (*timed, *scored, "bench")


def _will_run(name: str, stages: Sequence[Stage], statuses: Iterable[Status]) -> bool:
    """Whether a stage is among those that are wanted, and not up to date."""
    return any(status.stage in stages and status.stage.name == name and not status.up_to_date for status in statuses)


def follow(recipe: Recipe, run: RunFolder) -> None:
    """Run the other ranks: take part in the training stages of rank 0, and write nothing.

    Raises:
        RunError: this rank has other code, libraries or settings than the first, or does not see its run folder.
    """
    while (message := ranks.receive()) is not None:
        stage, where = find_stage(message["stage"]), f"rank {ranks.rank()}"
        folder, own = RunFolder(Path(message["run"])), recipe
        if folder != run:
            # The stages of the preflight have a recipe of their own.
            own = Recipe.model_validate(message["recipe"])
        target = folder.partial(stage.folder)
        if not target.is_dir():
            hint = "All machines need the same file system under the same path, and start in the same folder."
            raise RunError(f"does not see {target}, in which rank 0 works", where=where, hint=hint)
        ours = _own_ingredients(stage, own)
        if difference := first_difference(message["made from"], json.loads(json.dumps(ours))):
            raise RunError(f"is not like rank 0: {difference}", where=where, hint="Install the same on all machines.")
        with stage_threads(stage, recipe.runtime):
            _function(stage)(StageContext(own, folder, target, Reporter(quiet=True)))


def _function(stage: Stage) -> StageFunction:
    """The stage's function. Its module is loaded when it is called: torch makes temporary files as it is loaded."""

    def function(context: StageContext) -> StageResult:
        result: StageResult = importlib.import_module(stage.module).run(context)
        return result

    return function


def run_single(name: str, recipe: Recipe, run: RunFolder, reporter: Reporter) -> None:
    """Run one stage that reads neither model nor data on what the run folder holds, up to date or not."""
    stage = find_stage(name)
    run_stage(stage_status(stage, recipe, run, {}), _function(stage), recipe, run, reporter)
    _publish(run, stage)
    if name == "gate":
        withhold(run, reporter, wanted=False)


def _publish(run: RunFolder, stage: Stage) -> None:
    for name in stage.publish:
        shutil.copyfile(run.stage(stage.folder) / name, run.path / name)


def _forget_vocabulary(run: RunFolder, reporter: Reporter) -> None:
    """Remove the vocabulary stage of an earlier version of the recipe, which has no [vocabulary] now."""
    folder = run.stage(VOCABULARY.folder)
    if folder.exists():
        reporter.line(f"the older {VOCABULARY.folder} is removed: the recipe has no [{VOCABULARY.name}] any more")
    remove_folder(folder)
