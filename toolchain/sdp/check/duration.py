"""Estimate the time of a run on this machine: from an earlier run, or else from a short timing.

The timing is rough: it measures a float32 product in numpy, and counts the floating-point operations of training, 6 for
each parameter outside of the embeddings and each token (2 forward, 4 backward; Kaplan et al. 2020, section 2.1).
EFFICIENCY was fitted to one run: fine-tuning in the quickstart with one thread, about 210 s of processor time on an AMD
EPYC that other processes shared. Not fitted, two threads on two quiet cores of that machine (2026-11-29): the
quickstart, 266 to 599 s expected, 300 s measured (fine-tuning 123 s and 97 s, pruning 155 s and 148 s); the guide's
run, 5 to 11 min expected, 5 min measured. Both lie at the lower end. On a busy machine everything takes longer.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sdp.check.facts import Facts
from sdp.check.rows import padded_length
from sdp.check.training import teacher_is_live
from sdp.losses.needs import needs_of
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import RUN_FILE, RunFolder
from sdp.pipeline.stages import FINETUNE, Stage, stages_of
from sdp.pruning.allocation import LEVELS
from sdp.recipe.base import TrainingSection
from sdp.recipe.sections import Recipe
from sdp.training.steps import optimizer_steps, passes

# Speed of training as a share of the measured product's speed: torch's products are faster than numpy's, and training
# has other operations too.
EFFICIENCY = 1.0
# Speed-up of bf16 over fp32 on a CPU with instructions for it.
BF16_SPEED = 2.5
FORWARD, TRAINING = 2, 6
_TIMING_SECONDS = 0.25
# Seconds to load libraries, data and model, and to write the result.
_STAGE_SECONDS = 10.0
# Seconds of torch.onnx.export for both models, and of reading the files again.
_EXPORT_SECONDS = 30.0
# Products of a refit without training: 4 solutions of 60 steps.
_REFIT_PRODUCTS = 240
# The same of a repair, and the passes of a block of either network to measure its layers: a third of it as far as the
# attention's output and as far as the feed-forward input, two thirds as far as its output, and all of it once.
_REPAIR_PRODUCTS = 20
_MEASURING_PASSES = 7 / 3
# Two sums of products [in, in] over the tokens: as many operations as so many forward passes.
_SUMS_IN_PASSES = 3.5
# Seconds to export a model, run it in turns with the dense one, and time single products.
_TIMING_OF_PRODUCTS = 45.0
# Seconds to start a process for each of the three files of a comparison.
_START_SECONDS = 4.0
_UNCERTAINTY = {"timing": 1.5, "earlier run": 1.25}


@dataclass(frozen=True)
class DurationEstimate:
    """The expected time of a stage.

    Attributes:
        seconds: the expectation.
        source: "earlier run" or "timing".
    """

    seconds: float
    source: str

    @property
    def range(self) -> tuple[float, float]:
        """Rough bounds in seconds."""
        factor = _UNCERTAINTY[self.source]
        return self.seconds / factor, self.seconds * factor


@dataclass(frozen=True)
class Work:
    """The amount of work of a run, for `timed_estimates`.

    Attributes:
        parameters: parameters outside of the embeddings.
        pruned: the same of the network that pruning starts from, which may have fewer layers.
        layers: layers of the encoder; None where config.json has no number.
        rows: rows by split.
        evaluated: the split on which models are compared.
        lengths: tokens of sampled training rows, not truncated.
    """

    parameters: int
    pruned: int
    layers: int | None
    rows: Mapping[str, int | None]
    evaluated: str
    lengths: NDArray[np.int64]


def matmul_rate() -> float:
    """Measure the floating-point operations per second of one thread in matrix products of an encoder's size.

    The fastest of many short products counts, because other processes slow some of them down. One thread is measured:
    on a busy machine one of several threads is always interrupted.
    """
    # Imported here: `sdp --help` does not need it.
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(0)
    left, right = (generator.random(shape, dtype=np.float32) for shape in ((128, 384), (384, 1536)))
    fastest, started = math.inf, time.perf_counter()
    with threadpool_limits(1):
        while (began := time.perf_counter()) < started + _TIMING_SECONDS:
            left @ right
            fastest = min(fastest, time.perf_counter() - began)
    return float(2 * left.size * right.shape[1] / fastest)


def training_threads(cores: int, wanted: int | None = None) -> int:
    """Return the threads that torch will train with: runtime.threads, else OMP_NUM_THREADS, else one per core.

    Args:
        cores: cores that this process may use.
        wanted: the value of runtime.threads.
    """
    if wanted is not None:
        return min(cores, wanted)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores


def timed_estimates(facts: Facts, work: Work, rate: float) -> dict[str, DurationEstimate]:
    """Estimate the time of each stage from counts of operations.

    Args:
        facts: recipe and machine.
        work: the amount of work.
        rate: floating-point operations per second of all threads.

    Returns:
        stage -> its estimate.
    """
    recipe = facts.recipe
    inputs = {split: round(facts.inputs_per_row * (rows or 0)) for split, rows in work.rows.items()}
    work = replace(work, rows=inputs)
    limit = np.minimum(work.lengths, recipe.data.max_length)
    token, pruned = (FORWARD * size / (rate * EFFICIENCY) for size in (work.parameters, work.pruned))
    forward = {split: token * (rows or 0) * float(limit.mean()) for split, rows in work.rows.items()}
    # Of the dense network and the pruned one.
    evaluated = forward[work.evaluated] * (1 + work.pruned / work.parameters)
    seconds = {
        "finetune": _training(facts, work, recipe.finetune, token, limit)
        + _evaluations(work, recipe.finetune) * forward["dev"],
        "prune": _training(facts, work, recipe.prune, pruned, limit)
        + _evaluations(work, recipe.prune) * forward["dev"] * work.pruned / work.parameters,
        "evaluate": evaluated,
        "export": _EXPORT_SECONDS + evaluated,
        "bench": _bench(facts),
        "report": 0.0,
    }
    if optimizer_steps(work.rows["train"] or 0, recipe.prune) == 0:
        row = token * float(limit.mean())
        if recipe.prune.structured:
            refit = recipe.prune.updates * _measured_units(facts, row)
        else:
            refit = _refit(facts, row, _REFIT_PRODUCTS, rate) if recipe.prune.sparsity else 0.0
        seconds["prune"] = forward["dev"] + refit
    elif teacher_is_live(facts):
        seconds["prune"] *= (TRAINING + FORWARD * _teacher_size(facts, work)) / TRAINING
    elif facts.teacher is not None or (work.layers is not None and needs_of(recipe.prune.losses, work.layers).rows):
        once = pruned * ((work.rows["train"] or 0) + facts.unlabeled) * float(limit.mean())
        seconds["prune"] += once * _teacher_size(facts, work)
    if recipe.prune.repair:
        repairs = min(recipe.prune.updates, optimizer_steps(work.rows["train"] or 0, recipe.prune))
        seconds["prune"] += repairs * _refit(facts, token * float(limit.mean()), _REPAIR_PRODUCTS, rate)
    if recipe.prune.structured and recipe.prune.trains:
        seconds["prune"] += recipe.prune.updates * _measured_units(facts, token * float(limit.mean()))
    if recipe.prune.scope == "allocated":
        seconds["prune"] += _allocation(facts, token * float(limit.mean()), rate)
    return {name: DurationEstimate(_STAGE_SECONDS + own, "timing") for name, own in seconds.items()}


def _teacher_size(facts: Facts, work: Work) -> float:
    """The teacher's parameters outside of the embeddings as a multiple of those of the network that is pruned."""
    return (work.parameters if facts.teacher is None else facts.teacher.computing) / work.pruned


def _evaluations(work: Work, settings: TrainingSection) -> int:
    """Return how often the dev rows are evaluated: after each epoch, and at the end."""
    return math.ceil(passes(work.rows["train"] or 0, settings)) + 1


def _training(facts: Facts, work: Work, settings: TrainingSection, token: float, lengths: NDArray[np.int64]) -> float:
    """Return the seconds of all steps, forward and backward over padded batches."""
    runtime = facts.recipe.runtime
    steps = optimizer_steps(work.rows["train"] or 0, settings)
    tokens = steps * settings.batch_size * padded_length(lengths, settings.batch_size)
    # Both settings compute the forward pass once more.
    again = FORWARD if runtime.checkpointing or runtime.accumulation > 1 else 0
    speed = BF16_SPEED if settings.precision != "fp32" and facts.machine.bf16 else 1.0
    return token * tokens * (TRAINING + again) / FORWARD / speed


def _measured_units(facts: Facts, row: float) -> float:
    """Return the seconds of measuring all heads and neurons once: forward, and backward to the activations alone.

    Args:
        row: seconds of a forward pass over one row.
    """
    return 2 * row * facts.recipe.prune.calibration_rows


def _refit(facts: Facts, row: float, products: int, rate: float) -> float:
    """Return the seconds of refitting every layer once on the calibration rows.

    Both networks compute the rows to measure the layers, and the weights of a matrix [out, in] are refitted by products
    with a matrix [in, in].

    Args:
        facts: recipe and sizes.
        row: seconds of a forward pass of a row.
        products: of each matrix.
        rate: floating-point operations per second.
    """
    measured = (2 * _MEASURING_PASSES + _SUMS_IN_PASSES) * facts.recipe.prune.calibration_rows * row
    # In the mean over the matrices of a layer, `in` is 1.5 times the encoder's width.
    return measured + products * 2 * (facts.prunable or 0) * 1.5 * (facts.hidden_size or 0) / rate


def _allocation(facts: Facts, row: float, rate: float) -> float:
    """Return the seconds of choosing a sparsity for each matrix.

    Args:
        facts: recipe and sizes.
        row: seconds of a forward pass of a row.
        rate: floating-point operations per second.
    """
    # One product with the Gram matrix a level.
    products = LEVELS * 2 * (facts.prunable or 0) * 1.5 * (facts.hidden_size or 0) / rate
    timed = _TIMING_OF_PRODUCTS if facts.recipe.prune.target_speedup is not None else 0.0
    return facts.recipe.prune.calibration_rows * row + products + timed


def _bench(facts: Facts) -> float:
    bench = facts.recipe.bench
    cells = len(bench.sequence_lengths) * len(bench.batch_sizes) * len(bench.thread_counts)
    return cells * bench.seconds + bench.starts * len(bench.thread_counts) * 3 * _START_SECONDS


_MOST_RUNS = 50
# Settings that decide the time of an optimizer step, besides model and data.
_STEP_SETTINGS = {
    "finetune": ("batch_size", "precision"),
    "prune": ("batch_size", "precision", "losses", "criterion", "repair", "layers"),
}


def earlier_estimates(
    recipe: Recipe, run: RunFolder, identities: Mapping[str, Mapping[str, str]], rows: int
) -> dict[str, DurationEstimate]:
    """Return the time of each stage in the newest run with the same work; training is scaled by its steps.

    Args:
        recipe: the recipe.
        run: its run folder.
        identities: identities of model and data, from `pipeline.input_identities`.
        rows: training rows.

    Returns:
        stage -> its estimate, for the stages that an earlier run has.
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
    """Yield this run folder, then its siblings, the newest first."""
    others = sorted(file for file in run.path.parent.glob(f"*/{RUN_FILE}") if file.parent != run.path)
    newest = sorted(others, key=lambda file: file.stat().st_mtime_ns, reverse=True)[:_MOST_RUNS]
    yield run
    yield from (RunFolder(file.parent) for file in newest)


def _same_inputs(
    recipe: Recipe, record: Mapping[str, Any], identities: Mapping[str, Mapping[str, str]], *, own: bool
) -> bool:
    """Whether a run has the recipe's model, task and longest input, and its data, unless it is this recipe's run."""
    inputs, settings = (_table(_table(record, "ingredients"), key) for key in ("inputs", "settings"))
    return (
        inputs.get("model") == identities["model"]
        and (own or inputs.get("data") == identities["data"])
        and ("vocabulary" in inputs) == (recipe.vocabulary is not None)
        and _table(settings, "data").get("max_length") == recipe.data.max_length
        and _table(settings, "task").get("type") == recipe.task.problem_type
    )


def _seconds(recipe: Recipe, earlier: RunFolder, stage: Stage, rows: int) -> float | None:
    """Estimate a stage from an earlier run; None where that run had other settings, or was interrupted."""
    record = earlier.record(stage.folder)
    if record is None or record.get("resumed") is not False or not isinstance(record.get("seconds"), int | float):
        return None
    seconds = float(record["seconds"])
    settings = _table(_table(record, "ingredients"), "settings")
    if stage.name in _STEP_SETTINGS:
        now: TrainingSection = getattr(recipe, stage.name)
        shown = now.resolved()
        then = _table(settings, stage.name)
        if any(then.get(key) != shown[key] for key in _STEP_SETTINGS[stage.name]):
            return None
        before = _steps(earlier.path, type(now), then, recipe.inputs_per_row)
        steps = optimizer_steps(rows * recipe.inputs_per_row, now)
        if not steps or not before:
            # Pruning with training is other work than without.
            return seconds if steps == before else None
        return seconds * steps / before
    changed = stage.name == "bench" and _table(settings, "bench") != recipe.bench.resolved()
    return None if changed else seconds


def _steps(path: Path, section: type[TrainingSection], settings: Mapping[str, Any], inputs: int) -> int | None:
    """Return the optimizer steps of a training stage of an earlier run."""
    rows = _table(read_json(path / FINETUNE.folder / "metrics.json") or {}, "rows").get("train")
    keys = {key: settings.get(key) for key in ("epochs", "steps", "batch_size")}
    try:
        return optimizer_steps(rows * inputs, section.model_validate(keys)) if isinstance(rows, int) else None
    except ValidationError:
        return None


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a table in a table; an empty one where a possibly damaged file has another type."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}
