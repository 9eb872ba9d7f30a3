"""The edge of the command line: what went wrong, as one message with an exit code, and a clean end on a signal."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from sdp import ranks
from sdp.errors import SdpError

# What the system refuses for reasons that lie outside sdp: permissions, a read-only disk, a name too long.
REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)


@contextmanager
def told() -> Iterator[None]:
    """Turn errors into one message on stderr and the exit code of their kind; bugs keep their traceback.

    SIGTERM ends a command as Ctrl-C does: what it has so far is written, and processes that it started end with it. Of
    several ranks that fail together, the first tells why.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ranks.join()
        yield
    except SdpError as error:
        _say(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        _say("stopped; finished stages are kept, and the same command goes on from there")
        raise typer.Exit(130) from None
    except Exception as error:
        if isinstance(error, typer.Exit):
            raise
        if is_disk_full(error):
            what = f"no space left on the disk ({error})\n  Free some space; finished stages are kept, and"
        elif isinstance(error, OSError) and error.errno in REFUSALS:
            what = f"{error.filename}: {error.strerror}\n  Finished stages are kept; once that is changed,"
        elif ranks.is_lost_rank(error):
            what = "another process of this run ended; torchrun tells below how\n  Finished stages are kept, and"
        elif ranks.rank_count() > 1 and not ranks.first_to_fail():
            # What another rank's end did to this one.
            raise typer.Exit(1) from None
        else:
            raise
        _say(f"error: {what} the same command goes on from there.")
        raise typer.Exit(1) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def _say(text: str) -> None:
    if ranks.first_to_fail():
        typer.echo(text, err=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception, or one that it came from, says that the disk is full (in words only, from safetensors)."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # torch's zip writer reports a short write without its reason.
        if "No space left on device" in str(cause) or "PytorchStreamWriter failed writing" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
