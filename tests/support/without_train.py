"""Run commands as where sdp was installed without the extra `train`: none of its packages can be found or imported.

A program of its own: FOLDER, and on stdin a JSON list of commands; prints a JSON list of [exit code, stdout, stderr].
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from typing import Any

from sdp.cli.errors import TRAIN
from support.in_process import run_in_process


class Without:
    """A finder of modules and distributions that does not know the packages of the extra."""

    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(self, name: str, *where: Any) -> Any:
        return None if name.partition(".")[0] in TRAIN else self.finder.find_spec(name, *where)

    def find_distributions(self, context: DistributionFinder.Context) -> Iterable[Distribution]:
        find = getattr(self.finder, "find_distributions", None)
        return () if find is None or context.name in TRAIN else find(context)


def main() -> None:
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    answers = []
    for command in json.load(sys.stdin):
        done = run_in_process(command, Path(sys.argv[1]), {})
        answers.append([done.returncode, done.stdout, done.stderr])
    assert not sys.modules.keys() & TRAIN
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
