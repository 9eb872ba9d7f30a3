"""How long a run will take on this machine: from an earlier run where there is one, else from a short timing.

The timing is rough: a float32 product in numpy is measured, and training counted in floating-point operations, 6 for
each parameter outside of the embeddings and each token (2 forward, 4 backward; Kaplan et al. 2020, section 2.1).
EFFICIENCY was set by one run: fine-tuning in the quickstart with one thread, about 210 s of processor time on an AMD
EPYC that other processes shared. Not fitted, two threads on two quiet cores of that machine (2026-11-29): the
quickstart, 266 to 599 s expected, 300 s measured (fine-tuning 123 s and 97 s, pruning 155 s and 148 s); the guide's
run, 5 to 11 min expected, 5 min measured. Both lie at the lower end. On a busy machine everything takes longer.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sdp.check.facts import Facts
from sdp.check.rows import padded_length
from sdp.check.training import teacher_is_live
from sdp.losses.needs import needs_of
from sdp.pipeline.json_file import read_json
from sdp.pipeline.run_folder import RUN_FILE, RunFolder
from sdp.pipeline.stages import FINETUNE, Stage, stages_of
from sdp.recipe.base import TrainingSection
from sdp.recipe.sections import Recipe
from sdp.training.steps import optimizer_steps

# Of the measured product's speed, what training reaches on the whole: torch's products are faster than numpy's, and not
# everything is a product.
EFFICIENCY = 1.0
# bf16 on a CPU that has instructions for it, against fp32.
BF16_SPEED = 2.5
FORWARD, TRAINING = 2, 6
_TIMING_SECONDS = 0.25
# Loading libraries, data and model, and writing the result.
_STAGE_SECONDS = 10.0
# torch.onnx.export of both models, and opening the files again.
_EXPORT_SECONDS = 30.0
# A new process for each of the three files of a comparison.
_START_SECONDS = 4.0
_UNCERTAINTY = {"timing": 1.5, "earlier run": 1.25}


@dataclass(frozen=True)
class DurationEstimate:
    """What a stage is expected to take.

    Attributes:
        seconds: the expectation.
        source: "earlier run" or "timing".
    """

    seconds: float
    source: str

    @property
    def range(self) -> tuple[float, float]:
        """Seconds at least and at most, roughly."""
        factor = _UNCERTAINTY[self.source]
        return self.seconds / factor, self.seconds * factor


@dataclass(frozen=True)
class Work:
    """What a run has to do, for `timed_estimates`.

    Attributes:
        parameters: outside of the embeddings, after [vocabulary].
        layers: of the encoder; None where config.json has none.
        rows: rows by split.
        evaluated: the split that models are compared on.
        lengths: tokens of sampled training rows, without a limit.
    """

    parameters: int
    layers: int | None
    rows: Mapping[str, int | None]
    evaluated: str
    lengths: NDArray[np.int64]


def matmul_rate() -> float:
    """Floating-point operations a second of one thread in products such as an encoder's, on this machine while quiet.

    The fastest of many short products counts: those that another process interrupted are slower. Of several threads
    one is always interrupted on a busy machine.
    """
    # Imported here: `sdp --help` needs none.
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
    """Threads that torch will train with: runtime.threads, or OMP_NUM_THREADS where it is set, or a thread a core.

    Args:
        cores: that this process may use.
        wanted: runtime.threads.
    """
    if wanted is not None:
        return min(cores, wanted)
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores


def timed_estimates(facts: Facts, work: Work, rate: float) -> dict[str, DurationEstimate]:
    """What each stage takes, from counts of operations.

    Args:
        facts: recipe and machine.
        work: what is to be done.
        rate: floating-point operations a second, of all threads.

    Returns:
        stage -> its estimate.
    """
    recipe = facts.recipe
    limit = np.minimum(work.lengths, recipe.data.max_length)
    token = FORWARD * work.parameters / (rate * EFFICIENCY)
    forward = {split: token * (rows or 0) * float(limit.mean()) for split, rows in work.rows.items()}
    evaluated = forward[work.evaluated]
    seconds = {
        "finetune": _training(facts, work, recipe.finetune, token, limit) + _epochs(recipe.finetune) * forward["dev"],
        "prune": _training(facts, work, recipe.prune, token, limit) + _epochs(recipe.prune) * forward["dev"],
        "evaluate": 2 * evaluated,
        "export": _EXPORT_SECONDS + 2 * evaluated,
        "bench": _bench(facts),
        "report": 0.0,
    }
    if teacher_is_live(facts):
        seconds["prune"] *= (TRAINING + FORWARD) / TRAINING
    elif work.layers is not None and needs_of(recipe.prune.losses, work.layers).rows:
        seconds["prune"] += forward["train"]
    return {name: DurationEstimate(_STAGE_SECONDS + own, "timing") for name, own in seconds.items()}


def _epochs(settings: TrainingSection) -> int:
    """How often the dev rows are looked at: after each epoch, and at the end."""
    return math.ceil(settings.epochs) + 1


def _training(facts: Facts, work: Work, settings: TrainingSection, token: float, lengths: NDArray[np.int64]) -> float:
    """Seconds of all steps: forward and backward over padded batches."""
    runtime = facts.recipe.runtime
    steps = optimizer_steps(work.rows["train"] or 0, settings)
    tokens = steps * settings.batch_size * padded_length(lengths, settings.batch_size)
    # Both compute the forward pass once more.
    again = FORWARD if runtime.checkpointing or runtime.accumulation > 1 else 0
    speed = BF16_SPEED if settings.precision == "bf16" and facts.machine.bf16 else 1.0
    return token * tokens * (TRAINING + again) / FORWARD / speed


def _bench(facts: Facts) -> float:
    bench = facts.recipe.bench
    cells = len(bench.sequence_lengths) * len(bench.batch_sizes) * len(bench.thread_counts)
    return cells * bench.seconds + bench.starts * len(bench.thread_counts) * 3 * _START_SECONDS


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
        stage -> its estimate; without the stages that no earlier run has.
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
        and _table(settings, "task").get("type") == recipe.task.problem_type
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
        shown = now.resolved()
        then = _table(settings, stage.name)
        if any(then.get(key) != shown[key] for key in _STEP_SETTINGS[stage.name]):
            return None
        before = _steps(earlier.path, then)
        return None if before is None else seconds * optimizer_steps(rows, now) / before
    changed = stage.name == "bench" and _table(settings, "bench") != recipe.bench.resolved()
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
