"""Trackers that follow a training: TensorBoard, Weights & Biases and MLflow, through Trainer's own callbacks.

They get each record of the log as it is written: Trainer's, and those of `StepCallback` with the metric on dev and with
what hooks measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdp.errors import UsageError
from sdp.recipe.sections import Tracker

if TYPE_CHECKING:
    from transformers import TrainerCallback

WHERE = "runtime.report_to"
CALLBACKS: dict[Tracker, str] = {
    "tensorboard": "TensorBoardCallback",
    "wandb": "WandbCallback",
    "mlflow": "MLflowCallback",
}
"""Trainer's, in transformers.integrations."""
FOLDER = "tensorboard"
"""In a run folder: TensorBoard's files, of each stage in a folder of its own."""


def require_trackers(names: Iterable[Tracker]) -> None:
    """Check that the packages of some trackers are installed.

    Raises:
        UsageError: one is not.
    """
    if missing := missing_trackers(names):
        what, install = missing
        raise UsageError(what, where=WHERE, hint=f"{install}, or change {WHERE}.")


def missing_trackers(names: Iterable[Tracker]) -> tuple[str, str] | None:
    """What is not installed, in words, and the command that installs it; None where all is. No torch."""
    missing = [name for name in names if find_spec(name) is None]
    if not missing:
        return None
    return f"not installed here: {', '.join(missing)}", f"pip install {' '.join(missing)}"


@contextmanager
def follow(names: Iterable[Tracker], folder: Path, step: int) -> Iterator[tuple[TrainerCallback, ...]]:
    """Callbacks for Trainer, one for each tracker; what they opened ends with the block.

    Args:
        names: the trackers, whose packages are installed.
        folder: for TensorBoard's files. A resumed training goes on in them.
        step: the step that the training resumes from; what TensorBoard shows of later ones is of an attempt that was
            broken off, and goes.

    Raises:
        UsageError: a tracker fails, for instance where its server wants a login.
    """
    chosen = tuple(names)
    try:
        yield tuple(_callback(name, folder, step) for name in chosen)
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package not in chosen:
            raise
        hint = f"Correct its settings, which are environment variables, or remove it from {WHERE}."
        raise UsageError(f"{package}: {error}", where=WHERE, hint=hint) from error
    finally:
        for name in chosen:
            _end(name)


def numbers_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record of the log, as trackers take them: with its step known, and dev's apart from train's."""
    return {
        "eval_dev" if name == "dev" else name: value
        for name, value in record.items()
        if isinstance(value, int | float) and name != "step"
    }


def _callback(name: Tracker, folder: Path, step: int) -> TrainerCallback:
    callback: Callable[..., TrainerCallback] = getattr(import_module("transformers.integrations"), CALLBACKS[name])
    if name != "tensorboard":
        return callback()
    from torch.utils.tensorboard import SummaryWriter

    return callback(SummaryWriter(str(folder), purge_step=step + 1))


def _end(name: Tracker) -> None:
    """End what a tracker opened, so that the next stage is a run of its own."""
    if name == "wandb":
        import_module(name).finish()
    elif name == "mlflow":
        import_module(name).end_run()
