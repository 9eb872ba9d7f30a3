"""The trials in a tuning's folder: which are up to date, what they found, and what they took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdp.choice.measured import DenseModel, MeasuredModel, dense_model, measured_model
from sdp.choice.run import Prepared
from sdp.errors import NotDownloadedError
from sdp.pipeline.artifacts.comparison import EvaluateMetrics, ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.run_folder import CHECKPOINTS, RUN_FILE, RunFolder
from sdp.pipeline.runner import input_identities, plan
from sdp.pipeline.stages import BENCH, EVALUATE, EXPORT, FINETUNE, PRUNE, stages_of
from sdp.training.checkpoints import checkpoint_step, complete_checkpoints
from sdp.training.steps import optimizer_steps
from sdp.tune.candidates import Trial
from sdp.tune.costs import first_step_seconds
from sdp.tune.outcome import Outcome, Spent
from sdp.tune.setup import Tune
from sdp.tune.speed import overall_speedup

LAST_STAGE = BENCH.name
"""Trials are compared; the chosen one alone is judged and reported."""


@dataclass(frozen=True)
class Finished:
    """A finished trial: its outcome, its row, and the dense model that it was measured against."""

    outcome: Outcome
    row: MeasuredModel
    dense: DenseModel


def finished_trials(tune: Tune, steps: Sequence[int]) -> Iterator[tuple[Trial, Finished]]:
    """The trials whose results are up to date.

    Args:
        tune: the tuning.
        steps: of its ladder.
    """
    identities: Mapping[str, dict[str, str]] | None = None
    for trial in tune.trials(steps):
        if not (tune.out / trial.name / RUN_FILE).is_file():
            continue
        try:
            identities = identities or input_identities(tune.recipe, download=False)
        except NotDownloadedError:
            return
        prepared = tune.prepared(trial)
        if _up_to_date(prepared, identities):
            yield trial, read_trial(trial, prepared.run)


def _up_to_date(prepared: Prepared, identities: Mapping[str, dict[str, str]]) -> bool:
    wanted = {stage.name for stage in stages_of(prepared.recipe, LAST_STAGE)}
    statuses = plan(prepared.recipe, prepared.run, identities)
    return all(status.up_to_date for status in statuses if status.stage.name in wanted)


def read_trial(trial: Trial, run: RunFolder) -> Finished:
    """Read a trial whose stages are done.

    Raises:
        RunError: a file is damaged, or another version's.
    """
    exported, bench = ExportMetrics.load(run), BenchLatency.load(run)
    row = measured_model(run.path.name, PruneMetrics.load(run), exported, bench)
    measuring = sum(_seconds(run, stage.folder)[0] for stage in (EVALUATE, EXPORT, BENCH))
    pruning, resumed = _seconds(run, PRUNE.folder)
    outcome = Outcome(
        trial,
        row.drop,
        overall_speedup([case.speedup for case in row.cases]),
        Spent(None if resumed else pruning, measuring),
    )
    return Finished(outcome, row, dense_model(exported, bench))


def _seconds(run: RunFolder, folder: str) -> tuple[float, bool]:
    """The seconds of a stage's last attempt, and whether it took up another."""
    record = run.record(folder)
    return (0.0, True) if record is None else (record["seconds"], record["resumed"])


def begun_trials(tune: Tune, steps: Sequence[int]) -> dict[Trial, int]:
    """Interrupted trainings: trial -> optimizer steps up to the last checkpoint."""
    found = {}
    for trial in tune.trials(steps):
        partial = RunFolder(tune.out / trial.name).partial(PRUNE.folder)
        if checkpoints := complete_checkpoints(partial / CHECKPOINTS):
            found[trial] = checkpoint_step(checkpoints[-1])
    return found


def step_before_any(tune: Tune, finished: Sequence[Finished]) -> float:
    """Seconds of a step of pruning from what fine-tuning took, or else from an evaluation."""
    run, settings = tune.base.run, tune.recipe.finetune
    steps = optimizer_steps(FinetuneMetrics.load(run).rows.train * tune.recipe.inputs_per_row, settings)
    seconds, resumed = _seconds(run, FINETUNE.folder)
    row_seconds = None
    if finished:
        first = RunFolder(tune.out / finished[0].row.folder)
        # Of two models.
        row_seconds = _seconds(first, EVALUATE.folder)[0] / (2 * EvaluateMetrics.load(first).rows)
    return first_step_seconds(
        (seconds, steps) if steps and not resumed else None,
        settings.batch_size,
        tune.recipe.prune.batch_size,
        row_seconds,
    )
