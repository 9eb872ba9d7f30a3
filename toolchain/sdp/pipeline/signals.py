"""Signals that end a command: Ctrl-C, SIGTERM from schedulers, and SIGHUP from a closed terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STDERR = 2


def announce(text: str) -> None:
    """Write a line on stderr from a signal handler, without the stream's buffer: a write may be in progress."""
    # The terminal may be closed.
    with suppress(OSError):
        os.write(STDERR, f"{text}\n".encode())


@contextmanager
def on_end_signal(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Install a handler for these signals during a block; a SIGHUP that nohup ignores stays ignored."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
