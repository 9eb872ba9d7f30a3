"""The examples of a shipped folder's README.md, run as a server would run them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from toy import ONE_THREAD


def examples(folder: Path) -> list[str]:
    """The Python blocks of the card."""
    return re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def says_what_is_stored(folder: Path, example: str) -> None:
    """Run an example in the folder, and see that it prints the logits that are stored for its text."""
    # The environment of the tests may have the sources on its path; a server has neither.
    environment = {key: value for key, value in ONE_THREAD.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", example]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    stored = np.array(json.loads((folder / "golden.json").read_text())["cases"][0]["logits"])
    printed = [float(number) for number in re.findall(r"-?\d+\.\d*(?:e[-+]\d+)?", done.stdout)]
    np.testing.assert_allclose(printed, stored.ravel(), rtol=1e-4, atol=1e-5)
