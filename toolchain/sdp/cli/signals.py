"""The signals that end a command: Ctrl-C, the SIGTERM of schedulers, and the SIGHUP of a terminal that is closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STDERR = 2


def announce(text: str) -> None:
    """Write a line on stderr from a signal's handler, at once: the stream may be in the middle of a write."""
    # A terminal that was closed reads nothing.
    with suppress(OSError):
        os.write(STDERR, f"{text}\n".encode())


@contextmanager
def on_end_signal(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give a handler those signals for the length of a block; nohup's ignored SIGHUP stays ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
