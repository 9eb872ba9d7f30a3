"""sdp's part of the exception tree that starts in `sdp_onnx.errors`.

UsageError (exit code 2)
├── RecipeError      one or more problems in a recipe, in one message
├── DataError        a data set or data file cannot be read or does not fit
├── ModelError       pretrained weights cannot be found or must not be loaded
│   └── NotDownloadedError   the model is on the hub and was not to be downloaded now
└── RunError         a run folder is missing, in use, or belongs to another recipe
FailedError (exit code 1)
├── StageError       a stage was carried out and failed
└── StorageError     the disk is full, or the system refuses to write
StoppedError          Ctrl-C (exit code 130) or SIGTERM (143): work is saved, the same command resumes
OutOfTimeError        the deadline of a training came: work is saved, and whoever set the deadline goes on
"""

from __future__ import annotations

from sdp_onnx.errors import FailedError, SdpError, UsageError

__all__ = [
    "DataError",
    "FailedError",
    "ModelError",
    "NotDownloadedError",
    "OutOfTimeError",
    "RecipeError",
    "RunError",
    "SdpError",
    "StageError",
    "StoppedError",
    "StorageError",
    "UsageError",
]


class RecipeError(UsageError):
    """Everything that is wrong with a recipe, one line for each problem."""


class DataError(UsageError):
    """A data set or data file cannot be used."""


class ModelError(UsageError):
    """The pretrained model cannot be used."""


class NotDownloadedError(ModelError):
    """The model is not on this machine, and downloading was not allowed."""


class RunError(UsageError):
    """The run folder cannot be used."""


class StageError(FailedError):
    """A stage was carried out and failed."""


class StorageError(FailedError):
    """Files could not be written, for a reason that lies outside sdp."""


class StoppedError(SdpError):
    """The user or the system stopped the command; the work done so far is kept.

    The exit code is 128 plus the signal's number, as in a shell.
    """

    def __init__(self, what: str, *, number: int, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.exit_code = 128 + number


class OutOfTimeError(SdpError):
    """A training was stopped at its deadline; a checkpoint was saved."""
