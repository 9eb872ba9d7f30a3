"""Error handling of the command line: one message and an exit code for each error, and a clean end on a signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer

from sdp.cli.terminal import escape_unencodable
from sdp.distributed import ranks
from sdp.distributed.launcher import process_count
from sdp.errors import RunError, SdpError, StoppedError, StorageError, UsageError
from sdp.pipeline.files import causes, storage_error
from sdp.pipeline.signals import announce, on_end_signal


@contextmanager
def handle_errors() -> Iterator[None]:
    """Print an error as one message on stderr, and exit with the code of its type; bugs keep their traceback.

    SIGTERM and SIGHUP end a command as Ctrl-C does: finished results are written, and child processes end with it. If
    several ranks fail together, only the first prints the reason. Characters that the terminal lacks are escaped.
    """
    escape_unencodable()
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not received and ranks.rank() == 0:
            announce("stopping")
        received.append(number)
        raise KeyboardInterrupt

    with on_end_signal(stop), _reported(received):
        yield


@contextmanager
def _reported(received: list[int]) -> Iterator[None]:
    try:
        ranks.join()
        yield
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        # Typer exits silently if a signal arrives while it parses arguments.
        if isinstance(error, SystemExit) and not received:
            raise
        shown = _shown(error, received)
        if shown is None and process_count() == 1:
            raise
        with ranks.first_to_fail() as first:
            if first:
                _print(error, shown)
        raise typer.Exit(shown.exit_code if shown is not None else 1) from None


def _print(error: BaseException, shown: SdpError | None) -> None:
    if shown is None:
        sys.excepthook(type(error), error, error.__traceback__)
        return
    # The terminal may be closed.
    with suppress(OSError):
        typer.echo(str(shown) if isinstance(shown, StoppedError) else f"error: {shown}", err=True)


def _shown(error: BaseException, received: list[int]) -> SdpError | None:
    """Return the error to print for an exception; None for a bug.

    Args:
        error: the exception of the command.
        received: the signals received.
    """
    if isinstance(error, (StoppedError, StorageError)):
        return error
    # Libraries that are interrupted during an import or in native code may raise other exceptions.
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes(error)) or (
        received and not isinstance(error, SdpError)
    ):
        what = "stopped; finished stages are kept, and the same command goes on from there"
        return StoppedError(what, number=received[0] if received else signal.SIGINT)
    if ranks.is_peer_failure(error):
        hint = "Finished stages are kept, and the same command goes on from there."
        return RunError("another process of this run ended; torchrun prints the reason below", hint=hint)
    known = error if isinstance(error, SdpError) else None
    return storage_error(error) or known or missing_package_error(error)


TRAIN = frozenset(
    {
        *("accelerate", "datasets", "onnx_ir", "onnxscript", "optimum", "pandas", "requests", "torch", "torchmetrics"),
        "transformers",
    }
)
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
