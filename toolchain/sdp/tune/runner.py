"""Running a tuning: fine-tuning, trials while the budget lasts, then the chosen one on test.

tune/quickstart/
    fp32-dense/                     a run folder with the fine-tuned model, which all trials share
    int8-dense/                     a trial: evaluated, exported and measured
    int8-1x4-0.80-750-steps/        another, pruned in 750 steps
    chosen/                         the chosen one measured on test, where there is a test split
    tune.json, tune.md              the table
    recipe.toml                     the chosen settings, for `sdp run`
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from sdp.errors import OutOfTimeError, SdpError, StoppedError, StorageError
from sdp.pipeline.artifacts.training import FinetuneMetrics
from sdp.pipeline.artifacts.verdict import GateVerdict
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import input_identities, stage_status
from sdp.pipeline.stages import FINETUNE, PREFLIGHT, PRUNE, REPORT
from sdp.tune.artifacts import TuneReport
from sdp.tune.candidates import DENSE_FP32, Trial
from sdp.tune.costs import MARGIN, costs
from sdp.tune.next_trial import Situation, next_trial
from sdp.tune.recipe_file import write_recipe
from sdp.tune.report import Progress, tune_report
from sdp.tune.setup import Tune
from sdp.tune.trials import LAST_STAGE, begun_trials, finished_trials, read_trial, step_before_any

MARKDOWN_FILE = "tune.md"
GRACE = 1.05
"""A training that turns out slower than expected is stopped at this many times the budget."""


@dataclass
class Tuning:
    """A tuning at work.

    Attributes:
        tune: as asked for.
        reporter: shows progress.
        report: what is known; None until the fine-tuned model is there.
    """

    tune: Tune
    reporter: Reporter
    report: TuneReport | None = None
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> TuneReport:
        """Try candidates until the budget is spent or nothing is worth it; write the report after each.

        Raises:
            StoppedError: a signal came; the report so far is written, and the same command goes on.
            RunError: another process works on this tuning.
            SdpError: fine-tuning failed.
        """
        tune = self.tune
        with RunFolder(tune.out).locked():
            self._finetune()
            steps = tune.ladder(FinetuneMetrics.load(tune.base.run).rows.train)
            progress = self._write(self._found(steps))
            while (trial := next_trial(self._situation(progress, steps))) is not None:
                try:
                    progress = self._write(self._attempt(progress, trial))
                except OutOfTimeError as error:
                    self.reporter.line(f"  {error}")
                    break
            ending = self._ending(self._situation(progress, steps))
            progress = self._write(replace(self._confirm(progress), ending=ending))
        return tune_report(progress)

    def _finetune(self) -> None:
        """Bring the fine-tuned model up to date; before it, all stages once in seconds, as `sdp run` does."""
        base = self.tune.base
        self.reporter.heading("the dense model")
        if base.recipe.runtime.preflight:
            status = stage_status(FINETUNE, base.recipe, base.run, input_identities(base.recipe, download=True))
            if not status.up_to_date:
                base.bring_up_to_date(PREFLIGHT.name, self.reporter)
        base.bring_up_to_date(FINETUNE.name, self.reporter)

    def _found(self, steps: Sequence[int]) -> Progress:
        """What earlier calls left."""
        tune = self.tune
        return Progress(
            name=tune.recipe.name,
            metric=tune.recipe.task.score,
            promise=tune.promise,
            minutes=tune.minutes,
            held_out=tune.held_out,
            finished=dict(finished_trials(tune, steps)),
            failed={},
        )

    def _situation(self, progress: Progress, steps: Sequence[int]) -> Situation:
        first = step_before_any(self.tune, tuple(progress.finished.values()))
        known = costs(progress.outcomes, first)
        return Situation(
            promise=self.tune.promise,
            candidates=self.tune.candidates,
            ladder=tuple(steps),
            finished=progress.outcomes,
            failed=frozenset(progress.failed),
            begun=begun_trials(self.tune, steps),
            costs=known,
            seconds_left=self._deadline(1.0) - time.monotonic() - self._last_seconds(known.measuring),
        )

    def _deadline(self, share: float) -> float:
        """When a share of the budget is spent, by `time.monotonic`."""
        return self._started + 60 * self.tune.minutes * share

    def _last_seconds(self, measuring: float) -> float:
        """Seconds to keep for the chosen one: measuring it on test, and what its gate may measure again."""
        gate = self.tune.recipe.gate
        again = gate.budget_seconds if gate.measured_again else 0.0
        return again + (MARGIN * measuring if self.tune.held_out else 0.0)

    def _attempt(self, progress: Progress, trial: Trial) -> Progress:
        """Run a trial; one that fails is recorded.

        Raises:
            OutOfTimeError: it took longer than expected, and is left for a later call.
        """
        minutes = (time.monotonic() - self._started) / 60
        self.reporter.heading(f"{minutes:.1f} of {self.tune.minutes:g} minutes: {trial.name}")
        prepared = self.tune.prepared(trial)
        try:
            prepared.bring_up_to_date(
                LAST_STAGE, self.reporter, source=self.tune.base.run, deadline=self._deadline(GRACE)
            )
        except (OutOfTimeError, StoppedError, StorageError):
            raise
        except SdpError as error:
            self.reporter.line(f"  trial failed: {error}")
            return replace(progress, failed={**progress.failed, trial: str(error)})
        finished = read_trial(trial, prepared.run)
        return replace(progress, finished={**progress.finished, trial: finished})

    def _ending(self, situation: Situation) -> str:
        """Why no other trial was begun."""
        more = next_trial(replace(situation, seconds_left=inf))
        if more is None:
            return "No other trial is likely to give a faster model that keeps the promise."
        seconds = situation.seconds(more)
        needs = f"about {max(1, round(seconds / 60))} minutes" if seconds < inf else "a time that is not known yet"
        return f"The next trial would be {more.name}, in {needs}: the same command goes on with it."

    def _confirm(self, progress: Progress) -> Progress:
        """Judge the chosen trial by the recipe's gate, on test where there is a test split; the dense model is not."""
        trial = progress.chosen.trial
        if trial.candidate == DENSE_FP32:
            return progress
        source = RunFolder(self.tune.out / trial.name)
        if self.tune.held_out:
            prepared, shared = self.tune.chosen(trial), PRUNE.name
            self.reporter.heading(f"chosen: {trial.name}, now on test")
            prepared.bring_up_to_date(REPORT.name, self.reporter, source=source, shared=shared)
        else:
            prepared = self.tune.prepared(trial)
            self.reporter.heading(f"chosen: {trial.name}")
            prepared.bring_up_to_date(REPORT.name, self.reporter)
        verdict = GateVerdict.load(prepared.run).verdict
        confirmed = read_trial(trial, prepared.run) if self.tune.held_out else None
        return replace(progress, confirmed=confirmed, verdict=verdict)

    def _write(self, progress: Progress) -> Progress:
        """Write report, table and recipe."""
        from sdp.tune.table import markdown

        tune, report = self.tune, tune_report(progress)
        report.store(tune.out)
        (tune.out / MARKDOWN_FILE).write_text(markdown(report), encoding="utf-8")
        write_recipe(tune.chosen(progress.chosen.trial), RunFolder(tune.out), report.remarks[0])
        self.report = report
        return progress
