"""Run all stages once in seconds, with few rows and layers, before the first stage that trains.

Architecture, weights, tokenizer and labels are the recipe's, and the rows the longest and oddest of every split, so
that errors that would occur after hours of training occur here. Writes no file; success is the result.
"""

from __future__ import annotations

import gc
import glob
import math
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sdp.data.load import load_task_data
from sdp.data.rows import Split, SplitName, TaskData
from sdp.data.unlabeled import read_unlabeled
from sdp.errors import ModelError
from sdp.evaluation.bench_inputs import read_cases
from sdp.models.export import MODEL_FILE
from sdp.models.parts import vocabulary_tensors
from sdp.models.source import ModelFolder, locate_model
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder, remove_folder
from sdp.pipeline.runner import stage_status
from sdp.pipeline.stage_run import run_stage
from sdp.pipeline.stages import EXPORT, FINETUNE, PRUNE, SHIP, VOCABULARY, find_stage
from sdp.preflight.errors import preflight_errors
from sdp.preflight.model import small_model
from sdp.preflight.rows import few_rows, write_rows, write_texts
from sdp.preflight.settings import layers_needed, reduced
from sdp.pruning.teacher_source import locate_teacher
from sdp.recipe.data import DataSection
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe
from sdp.stages import evaluate, export, finetune, prune, ship
from sdp.training.inputs import tokenize_whole
from sdp_onnx.runtimes.registry import default_runtime

STAGES = {"finetune": finetune.run, "prune": prune.run, "evaluate": evaluate.run, "export": export.run}
# A task with many classes has as many training rows here, which is still few steps.
MOST_STEPS = 4
# Rows without labels: a batch of the preflight.
UNLABELED = 4

StageErrors = Callable[[str], AbstractContextManager[None]]
"""Adds the name of a stage to errors."""


@dataclass(frozen=True)
class _Small:
    """The recipe and run of the preflight.

    Attributes:
        recipe: with the few rows and the small model.
        run: its run folder.
        rows: rows of all splits.
        layers_cut: layers that the model had beside those that it has; None where it was not cut.
    """

    recipe: Recipe
    run: RunFolder
    rows: int
    layers_cut: int | None


def run(context: StageContext) -> StageResult:
    """Run all stages.

    Raises:
        SdpError: the error of a stage, with its name.
    """
    recipe, run, target = context.recipe, context.run, context.target
    work = (target / "work").resolve()
    source = locate_model(recipe.model)
    if recipe.vocabulary is not None:
        source = ModelFolder(source.name, run.stage(VOCABULARY.folder))
    places = {
        str(work / place): str(source.path) for place in (f"run/{FINETUNE.folder}", f"run/{PRUNE.folder}", "model")
    }
    places[f"{work}/run/"] = ""
    if recipe.prune.teacher is not None:
        places[str(work / "teacher")] = recipe.prune.teacher
    named: StageErrors = partial(preflight_errors, places=places, details=target / "traceback.txt")
    try:
        with warnings.catch_warnings():
            # Warnings about the spread of so few rows are of no use.
            warnings.simplefilter("ignore")
            small = _reduce(recipe, source, work, named)
            _go_through(small, named)
    finally:
        remove_folder(work)
        # Trainer and model refer to each other; the real one needs their memory.
        gc.collect()
    return {"rows": small.rows, "layers left out": small.layers_cut or 0}


def _reduce(recipe: Recipe, source: ModelFolder, work: Path, named: StageErrors) -> _Small:
    """Choose rows and layers, and write them beside a recipe for them."""
    data, settings, remote_code = load_task_data(recipe), reduced(recipe), recipe.model.trust_remote_code
    splits: dict[SplitName, Split] = {"train": data.train, "dev": data.dev}
    if data.test is not None:
        splits["test"] = data.test
    with named("finetune"):
        cut = small_model(source, work / "model", layers_needed(recipe), trust_remote_code=remote_code)
        words = recipe.task.problem_type == "tagging"
        tokenizer = load_tokenizer(source.path, trust_remote_code=remote_code, words=words)
        unknown = max(tokenizer.backend.get_vocab(with_added_tokens=True).values()) >= _embedding_rows(source)
        few = {
            name: few_rows(
                split,
                lambda rows: tokenize_whole(rows, tokenizer, recipe),
                every_label=name == "train",
                every_id=unknown,
            )
            for name, split in splits.items()
        }
    steps = {
        name: section.model_copy(
            update={"batch_size": max(section.batch_size, math.ceil(len(few["train"]) / MOST_STEPS))}
        )
        for name, section in (
            ("finetune", settings.finetune),
            ("prune", _with_small_teacher(settings.prune, recipe, work, named, cut=cut is not None)),
        )
    }
    sections = {
        "model": settings.model.model_copy(update={"name": str(work / "model"), "revision": None}),
        "vocabulary": None,
        "data": _with_unlabeled(write_rows(few, data, settings.data, work / "data"), recipe, data, work, named),
        **steps,
    }
    rows = sum(map(len, few.values()))
    return _Small(settings.model_copy(update=sections), RunFolder(work / "run"), rows, cut)


def _with_small_teacher(
    section: PruneSection, recipe: Recipe, work: Path, named: StageErrors, *, cut: bool
) -> PruneSection:
    """Cut the other network that the recipe learns from as the model was cut: losses may compare all layers."""
    if recipe.prune.teacher is None:
        return section
    layers = layers_needed(recipe) if cut else sys.maxsize
    with named("prune"):
        small_model(locate_teacher(recipe), work / "teacher", layers, trust_remote_code=False)
    return section.model_copy(update={"teacher": str(work / "teacher")})


def _with_unlabeled(
    section: DataSection, recipe: Recipe, data: TaskData, work: Path, named: StageErrors
) -> DataSection:
    """Read all rows without labels, and write a few of them beside the others."""
    if recipe.data.unlabeled is None:
        return section
    with named("prune"):
        path = write_texts(read_unlabeled(recipe, data)[:UNLABELED], data.train, work / "data")
    return section.model_copy(update={"unlabeled": (glob.escape(str(path)),)})


def _embedding_rows(source: ModelFolder) -> int:
    """Rows of the table of input embeddings; 0 where it is not found."""
    try:
        return next(iter(vocabulary_tensors(source).values()))
    except ModelError:
        return 0


def _go_through(small: _Small, named: StageErrors) -> None:
    recipe, run = small.recipe, small.run
    for name, function in STAGES.items():
        with named(name):
            status = stage_status(find_stage(name), recipe, run, {"model": {}, "data": {}})
            run_stage(status, function, recipe, run, Reporter(quiet=True))
    with named("bench"):
        model = default_runtime().load(
            run.stage(EXPORT.folder) / MODEL_FILE, provider=recipe.bench.provider, threads=recipe.bench.thread_counts[0]
        )
        cases = read_cases(recipe, run)
    for case in cases:
        with named(f"bench, {case.name}"):
            model.run(case.batches[0])
    with named("ship"):
        shipped = run.begin(SHIP.folder, "", resume=False)
        exported, library = ship.take_model(recipe, run, shipped)
        ship.seal(shipped, ship.shipped_manifest(exported, library))
