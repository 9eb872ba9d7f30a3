"""Callbacks between the steps of a run: hooks, progress, checkpoints by the clock, a clean stop."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from sdp.distributed.collectives import any_rank, this_rank
from sdp.distributed.sharded import local
from sdp.errors import OutOfTimeError, StageError, StoppedError
from sdp.pipeline.files import flush, follow_umask, read_json, write_json
from sdp.pipeline.progress import Reporter, Task
from sdp.pipeline.signals import announce, on_end_signal
from sdp.training.checkpoints import COMPLETE, complete_checkpoints
from sdp.training.hooks import Hook
from sdp.training.trackers import numbers_of
from sdp_onnx.deploy.manifest import file_sha256

# The newest, and one to fall back on.
KEPT_CHECKPOINTS = 2


class StepCallback(TrainerCallback):
    """Hooks, progress, checkpoints by the clock, the training curve, and a clean stop on a signal."""

    def __init__(
        self,
        task: Task,
        checkpoint_seconds: float,
        *,
        hooks: Sequence[Hook] = (),
        evaluate: Callable[[], float | None] | None = None,
        deadline: float | None = None,
        trackers: Sequence[TrainerCallback] = (),
    ) -> None:
        self._task = task
        self._checkpoint_seconds = checkpoint_seconds
        self._hooks = hooks
        self._evaluate = evaluate
        self._deadline = deadline
        self._trackers = trackers
        self._last_checkpoint = time.monotonic()
        # The number of the signal that came here, 0 before one; and whether one came on any rank by the last step.
        self.signalled = 0
        self.out_of_time = False
        self.stop_requested = False
        self.stop_saved = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take up the log of an interrupted attempt, and make up for the point that it owed.

        Trainer sorts the keys of the log that it saves: layers would be in another order than in an unbroken run. The
        last checkpoint of an epoch is written before the epoch is evaluated.
        """
        if state.global_step > 0:
            saved = read_json(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE) or {}
            state.log_history = saved.get("log", state.log_history)
        epoch = state.epoch or 0.0
        if epoch > 0 and epoch.is_integer() and not any("dev" in record for record in _of_step(state)):
            self._add_dev_metric(args, state, control)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let the hooks correct what the optimizer did."""
        for hook in self._hooks:
            hook.after_optimizer_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> TrainerControl:
        """Call the hooks, then ask for a checkpoint where one is due or a signal came.

        Raises:
            StageError: a weight is no finite number, so there is nothing worth saving, or worth pruning.
        """
        for hook in self._hooks:
            if hook.changes_weights(state.global_step):
                # Pruned, it would be gone without a word.
                require_finite(given["model"], state.global_step, Path(str(args.output_dir)))
            if (record := hook.after_step(state.global_step)) is not None:
                self._add(args, state, control, record)
        self._task.update(state.global_step, " ".join(hook.note for hook in self._hooks if hook.note))
        # Clocks and signals differ between ranks, and all must stop at the same step.
        due = this_rank() == 0 and time.monotonic() - self._last_checkpoint >= self._checkpoint_seconds
        late = this_rank() == 0 and self._deadline is not None and time.monotonic() >= self._deadline
        # All steps taken in time or not, the training is over.
        late = late and state.global_step < state.max_steps
        due, stopped, self.out_of_time = any_rank(due, self.signalled != 0, late)
        self.stop_requested = stopped or self.out_of_time
        if (due and state.global_step < state.max_steps) or self.stop_requested:
            require_finite(given["model"], state.global_step, Path(str(args.output_dir)))
            control.should_save = True
        if self.stop_requested:
            control.should_training_stop = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Mark the checkpoint as whole: a killed process leaves half-written folders behind."""
        # Every rank writes the state of its random numbers.
        any_rank()
        if this_rank() == 0:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            follow_umask(folder)
            flush(folder)
            write_json(folder / COMPLETE, {"log": state.log_history, "files": _hashes(folder)})
            # Trainer would rotate by the clock, which may be set back, and before this one is known to be whole.
            for older in complete_checkpoints(folder.parent)[:-KEPT_CHECKPOINTS]:
                discard_checkpoint(older)
        self.stop_saved = self.stop_requested
        self._last_checkpoint = time.monotonic()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Add a point of the dev metric (None where it is undefined) to the curve.

        Trainer calls this too where a stop breaks an epoch off.
        """
        if not self.stop_requested:
            self._add_dev_metric(args, state, control)

    def _add_dev_metric(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        if self._evaluate is not None:
            self._add(args, state, control, {"dev": self._evaluate()})

    def _add(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, record: Mapping[str, Any]
    ) -> None:
        """Add a record to the log, and hand it to the trackers, which hear of Trainer's own records from Trainer."""
        entry: dict[str, Any] = {"step": state.global_step, "epoch": state.epoch or 0.0, **record}
        state.log_history.append(entry)
        for tracker in self._trackers:
            tracker.on_log(args, state, control, logs=numbers_of(entry))


def _of_step(state: TrainerState) -> list[dict[str, Any]]:
    return [record for record in state.log_history if record.get("step") == state.global_step]


def discard_checkpoint(folder: Path) -> None:
    """Remove a checkpoint; killed in the middle, it leaves one that counts as half-written."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def require_finite(model: nn.Module, step: int, checkpoints: Path) -> None:
    """Require that every weight is a finite number.

    Raises:
        StageError: one is not; the message names it and a way to continue.
    """
    weights = dict(model.named_parameters())
    broken = any_rank(*(not bool(torch.isfinite(local(weight)).all()) for weight in weights.values()))
    for name, is_broken in zip(weights, broken, strict=True):
        if is_broken:
            raise StageError(f"weights are no finite numbers after step {step}", where=name, hint=way_on(checkpoints))


def way_on(checkpoints: Path) -> str:
    """Return the hint for a failed training: its last checkpoint, and settings to try."""
    newest = complete_checkpoints(checkpoints)
    kept = f"The last good checkpoint is {newest[-1]}. " if newest else "There is no checkpoint yet. "
    return kept + (
        "Lower the learning rate or the weight of the losses, warm up longer, or compute in fp32; "
        "with other settings the stage starts anew."
    )


def last_good_checkpoint(folder: Path, reporter: Reporter) -> Path | None:
    """The newest checkpoint that was written to its end and is as it was written, or None; newer ones are removed."""
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        checkpoint = Path(found)
        saved = read_json(checkpoint / COMPLETE)
        if saved is not None and saved.get("files") == _hashes(checkpoint):
            return checkpoint
        if saved is not None:
            reporter.line(f"  {checkpoint.name} is damaged, and is left out")
            (checkpoint / COMPLETE).unlink()
        shutil.rmtree(checkpoint)
    return None


def _hashes(checkpoint: Path) -> dict[str, str]:
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.name != COMPLETE]
    return {str(path.relative_to(checkpoint)): file_sha256(path) for path in files}


@contextmanager
def stop_on_signal(callback: StepCallback) -> Iterator[None]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a checkpoint and a clean stop after the current step."""

    def request(number: int, frame: FrameType | None) -> None:
        if callback.signalled:
            raise KeyboardInterrupt
        callback.signalled = number
        if this_rank() == 0:
            announce("stopping after this step: a checkpoint will be saved (once more: stop without it)")

    with on_end_signal(request):
        yield
    if callback.out_of_time and not callback.signalled:
        raise OutOfTimeError("the time for this training is up; a checkpoint was saved")
    if callback.signalled or callback.stop_requested:
        # After the last step no checkpoint is written for a signal.
        saved = "a checkpoint was saved" if callback.stop_saved else "what came after the last checkpoint is done again"
        hint = "The same command resumes where it stopped."
        # A rank that another one's signal stops had none itself.
        raise StoppedError(f"stopped; {saved}", number=callback.signalled or signal.SIGTERM, hint=hint)
