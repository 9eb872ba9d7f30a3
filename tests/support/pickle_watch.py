"""Watch a command and every Python process that it starts for pickles that are opened.

Python raises the audit event `pickle.find_class` whenever an unpickler that can make any object looks one up: that of
`pickle`, of `torch.load` without weights_only, of `numpy.load(allow_pickle=True)`, of joblib and of dill, in C and in
Python. torch's loader of weights alone has an unpickler of its own, which knows tensors and what they are made of,
calls nothing else, and raises no such event.
"""

from __future__ import annotations

import os
from pathlib import Path

_HOOK = """
import os, sys

def hook(event, args):
    if event == "pickle.find_class":
        with open(os.environ["PICKLE_LOG"], "a") as log:
            log.write(f"{args[0]}.{args[1]} in {' '.join(sys.orig_argv[:4])}\\n")

sys.addaudithook(hook)
"""


def watched(folder: Path) -> dict[str, str]:
    """Environment for a process that is to be watched; what it and its children open is noted in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_HOOK)
    # Children inherit both; Python imports sitecustomize before anything else.
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "PICKLE_LOG": str(folder / "pickles.txt")}


def opened(folder: Path) -> list[str]:
    """What was looked up by unpicklers: the objects by name, and the process."""
    log = folder / "pickles.txt"
    return log.read_text().splitlines() if log.is_file() else []
