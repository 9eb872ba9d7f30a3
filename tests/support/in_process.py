"""The command line without a process of its own: a start costs seconds of imports, and few tests are about it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from sdp.cli.main import main

# Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def run_in_process(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> CompletedProcess[str]:
    """Run `sdp` in a folder with a few variables more; returns what a process would print, and its exit code."""
    if any(name.startswith("PYTHON") for name in env):
        raise ValueError("Python reads its variables when a process starts: use sdp_process")
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(3)]
    command = ["sdp", *arguments]
    code: object = 0
    with process_state(), warnings.catch_warnings(), contextlib.chdir(cwd):
        os.environ.update(env)
        sys.argv, (sys.stdin, sys.stdout, sys.stderr) = command, streams
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except Exception:
            traceback.print_exc()
            code = 1
    out, err = (stream.buffer.getvalue().decode("utf-8") for stream in streams[1:])
    return CompletedProcess(command, code if isinstance(code, int) else 1, out, err)


@contextlib.contextmanager
def process_state() -> Iterator[None]:
    """Restore afterwards what belongs to the process: tests that run later must find it as it was.

    That is its environment, folder, arguments, streams, handlers of signals, random states and number of torch's
    threads.
    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    environment, folder = dict(os.environ), Path.cwd()
    arguments, streams = sys.argv, (sys.stdin, sys.stdout, sys.stderr)
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    python_random = random.getstate()
    numpy_random = numpy.random.get_state() if numpy else None
    torch_random, threads = (torch.get_rng_state(), torch.get_num_threads()) if torch else (None, 0)
    try:
        yield
    finally:
        if environment != dict(os.environ):
            os.environ.clear()
            os.environ.update(environment)
        os.chdir(folder)
        sys.argv, (sys.stdin, sys.stdout, sys.stderr) = arguments, streams
        for number, handler in handlers.items():
            signal.signal(number, handler)
        random.setstate(python_random)
        if numpy is not None:
            numpy.random.set_state(numpy_random)
        if torch is not None:
            torch.set_rng_state(torch_random)
            torch.set_num_threads(threads)
