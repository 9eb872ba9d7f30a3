"""The exceptions that a user may see. Any other exception is a bug.

SdpError                    what, where, next step; printed as one message without a traceback
├── UsageError              exit code 2: the command, the recipe or a given file is wrong
│   ├── ModelFileError      an ONNX file or exported folder cannot be used
│   │   └── ModelRunError   it loads, and fails at an input
│   ├── ProviderError       an execution provider was asked for and cannot be had
│   ├── OperatorLibraryError the operator library is missing or cannot be loaded
│   └── (more in sdp.errors: recipes, data, models, runs)
└── FailedError             exit code 1: the work was done or tried, and failed
    ├── ExportError         torch could not be turned into ONNX
    ├── VerificationError   the exported file does not reproduce torch's logits
    └── BenchmarkError      a measurement failed
"""

from __future__ import annotations


class SdpError(Exception):
    """An error with a message for the user.

    Attributes:
        what: the error, one sentence.
        where: the file, key or tensor; empty where the message names it.
        hint: the next step; empty where nothing helps.
        exit_code: the exit status of the command line (0 pass, 1 failed, 2 usage, 3 inconclusive).
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return f"{located}\n  {self.hint}" if self.hint else located


class UsageError(SdpError):
    """The user's input cannot be used."""

    exit_code = 2


class ModelFileError(UsageError):
    """An ONNX file or an exported folder is missing, damaged or not of the expected form."""


class ModelRunError(ModelFileError):
    """A loaded model failed at an input.

    Attributes:
        reason: the runtime's message.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model does not run: {reason}")
        self.reason = reason


class ProviderError(UsageError):
    """An execution provider was asked for and cannot be had."""


class OperatorLibraryError(UsageError):
    """The operator library is missing, does not load, or cannot run on this CPU."""


class FailedError(SdpError):
    """A stage ran and failed."""


class ExportError(FailedError):
    """The torch model could not be exported."""


class VerificationError(FailedError):
    """The exported file and the torch model disagree beyond the tolerance."""


class BenchmarkError(FailedError):
    """A benchmark could not be completed."""
