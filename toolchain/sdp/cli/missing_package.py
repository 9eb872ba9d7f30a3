"""A command that needs a package of the extra `train` where sdp was installed without it."""

from __future__ import annotations

from sdp.errors import UsageError
from sdp.pipeline.storage import causes

TRAIN = frozenset({"accelerate", "datasets", "onnxscript", "optimum", "pandas", "requests", "torch", "transformers"})
"""The packages of the extra in pyproject.toml, by the names under which they are imported."""


def missing_package_error(error: BaseException) -> UsageError | None:
    """The error that names the missing package and how to install it; None where an exception has another cause.

    Args:
        error: what came out of a command.
    """
    for cause in causes(error):
        if isinstance(cause, ModuleNotFoundError) and cause.name in TRAIN:
            hint = 'Install what the stages of training need: pip install "sdp[train]"'
            return UsageError(f"this command needs {cause.name}, which is not installed", hint=hint)
    return None
