"""The edge of the command line: what went wrong, as one message with an exit code, and a clean end on a signal."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import typer

from sdp.cli.missing_package import missing_package_error
from sdp.cli.signals import announce, on_end_signal
from sdp.cli.terminal import escape_what_is_lacking
from sdp.distributed import ranks
from sdp.distributed.launcher import process_count
from sdp.errors import RunError, SdpError, StoppedError, StorageError
from sdp.pipeline.storage import causes, storage_error


@contextmanager
def told() -> Iterator[None]:
    """Turn errors into one message on stderr and the exit code of their kind; bugs keep their traceback.

    SIGTERM and SIGHUP end a command as Ctrl-C does: what it has so far is written, and processes that it started end
    with it. Of several ranks that fail together, the first tells why. A terminal of few characters fails no command.
    """
    escape_what_is_lacking()
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if not received and ranks.rank() == 0:
            announce("stopping")
        received.append(number)
        raise KeyboardInterrupt

    with on_end_signal(stop), _told(received):
        yield


@contextmanager
def _told(received: list[int]) -> Iterator[None]:
    try:
        ranks.join()
        yield
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        # Typer ends without a word where a signal meets it at its own work, between commands and their arguments.
        if isinstance(error, SystemExit) and not received:
            raise
        shown = _shown(error, received)
        if shown is None and process_count() == 1:
            raise
        with ranks.first_to_fail() as speaks:
            if speaks:
                _tell(error, shown)
        raise typer.Exit(shown.exit_code if shown is not None else 1) from None


def _tell(error: BaseException, shown: SdpError | None) -> None:
    if shown is None:
        sys.excepthook(type(error), error, error.__traceback__)
        return
    # A terminal that was closed hears nothing.
    with suppress(OSError):
        typer.echo(str(shown) if isinstance(shown, StoppedError) else f"error: {shown}", err=True)


def _shown(error: BaseException, received: list[int]) -> SdpError | None:
    """What the user is told of an exception; None where it is a bug.

    Args:
        error: what came out of the command.
        received: the signals that came.
    """
    if isinstance(error, (StoppedError, StorageError)):
        return error
    # Libraries that are interrupted in the middle of an import or of native code may raise something else.
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes(error)) or (
        received and not isinstance(error, SdpError)
    ):
        what = "stopped; finished stages are kept, and the same command goes on from there"
        return StoppedError(what, number=received[0] if received else signal.SIGINT)
    if ranks.is_lost_rank(error):
        hint = "Finished stages are kept, and the same command goes on from there."
        return RunError("another process of this run ended; torchrun tells below how", hint=hint)
    known = error if isinstance(error, SdpError) else None
    return storage_error(error) or known or missing_package_error(error)
