"""A process that starts `sdp` commands: everything is imported once, and each command is a fork of it that ends alone.

Importing torch takes most of the time of a tiny run; a forked command runs the very same `sdp.__main__.main` in a
process and session of its own, with its own working folder, streams and temporary folder. Asked with a line of JSON:

    {"start": [argument, ...], "cwd": …, "log": …, "tmp": …}  ->  {"pid": n}
    {"poll": pid}                                             ->  {"code": n or null}; negative: ended by that signal
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

MODULES = (
    "torch.onnx",
    "onnxscript",
    "onnxruntime",
    "accelerate",
    "transformers.trainer",
    "transformers.models.bert.modeling_bert",
    "matplotlib.pyplot",
    "sklearn.metrics",
    "scipy.stats",
    "sdp.__main__",
    "sdp.cli.main",
    *(
        f"sdp.stages.{name}"
        for name in (
            "vocabulary",
            "preflight",
            "finetune",
            "prune",
            "evaluate",
            "export",
            "bench",
            "gate",
            "report",
            "ship",
        )
    ),
    "sdp.study.runner",
    "sdp.sweep.runner",
)
# Where the processes that a command starts are recognized by.
MARK = "SDP_FAULTS"


def serve() -> dict[str, Any] | None:
    """Answer until stdin ends; in a fork, return what it shall run."""
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                return dict(request)
            answer: dict[str, Any] = {"pid": pid}
        else:
            done, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if done else None}
        print(json.dumps(answer), flush=True)
    return None


def become(request: dict[str, Any]) -> None:
    """Make this fork what a shell would have started."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.environ |= {"TMPDIR": request["tmp"], MARK: request["cwd"]}
    sys.argv = ["sdp", *request["start"]]
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def run() -> NoReturn:
    """Run the command line; ends the process without the destructors of libraries, whose threads no fork has."""
    from sdp.__main__ import main

    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    for module in MODULES:
        with contextlib.redirect_stdout(sys.stderr):
            importlib.import_module(module)
    request = serve()
    if request is not None:
        become(request)
        run()
