"""What happens between the steps of a run: masks held and updated, progress, checkpoints by the clock, a clean stop."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from sdp.console import Task
from sdp.errors import StoppedError
from sdp.training.collectives import any_rank, this_rank
from sdp.training.masked_weights import MaskedWeights

COMPLETE = "complete.json"


class StepCallback(TrainerCallback):
    """Progress, checkpoints by the clock, mask updates, the training curve, and a clean stop on a signal."""

    def __init__(
        self,
        task: Task,
        checkpoint_seconds: float,
        *,
        masked: MaskedWeights | None = None,
        update_masks: Callable[[int], dict[str, float] | None] | None = None,
        evaluate: Callable[[], float] | None = None,
        observe: Callable[[int], dict[str, Any] | None] | None = None,
    ) -> None:
        self._task = task
        self._checkpoint_seconds = checkpoint_seconds
        self._masked = masked
        self._update_masks = update_masks
        self._evaluate = evaluate
        self._observe = observe
        self._last_checkpoint = time.monotonic()
        self._note = ""
        # Here, and on any rank as of the last step.
        self.signalled = False
        self.stop_requested = False
        self.stop_saved = False

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Hold the pruned weights at zero."""
        if self._masked is not None:
            self._masked.enforce()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Update masks, then ask for a checkpoint where one is due or a signal came."""
        if self._update_masks is not None and (record := self._update_masks(state.global_step)) is not None:
            state.log_history.append({"step": state.global_step, "epoch": state.epoch or 0.0, **record})
            self._note = f"{record['sparsity']:.0%} zeros"
        if self._observe is not None and (seen := self._observe(state.global_step)) is not None:
            entry: dict[str, Any] = {"step": state.global_step, "epoch": state.epoch or 0.0, "analysis": seen}
            state.log_history.append(entry)
        self._task.update(state.global_step, self._note)
        # Clocks and signals differ between ranks, and all must stop at the same step.
        due = this_rank() == 0 and time.monotonic() - self._last_checkpoint >= self._checkpoint_seconds
        due, self.stop_requested = any_rank(due, self.signalled)
        if (due and state.global_step < state.max_steps) or self.stop_requested:
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
            (folder / COMPLETE).write_text(json.dumps({"step": state.global_step}))
        self.stop_saved = self.stop_requested
        self._last_checkpoint = time.monotonic()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Add a point of the dev metric to the curve."""
        if self._evaluate is not None:
            state.log_history.append({"step": state.global_step, "epoch": state.epoch or 0.0, "dev": self._evaluate()})


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None; half-written ones are removed."""
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        if (Path(found) / COMPLETE).exists():
            return Path(found)
        shutil.rmtree(found)
    return None


@contextmanager
def stop_on_signal(callback: StepCallback) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a checkpoint and a clean stop after the current step."""

    def request(number: int, frame: FrameType | None) -> None:
        if callback.signalled:
            raise KeyboardInterrupt
        callback.signalled = True

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if callback.signalled or callback.stop_requested:
        # A signal after the last step finds nobody who asks for a checkpoint any more.
        saved = "a checkpoint was saved" if callback.stop_saved else "what came after the last checkpoint is done again"
        raise StoppedError(f"stopped; {saved}", hint="The same command resumes where it stopped.")
