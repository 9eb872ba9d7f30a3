"""The examples of a shipped folder's README.md, run as a server would run them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from sdp.commands.predict import answer_line, tagged_lines
from sdp.predict import Predictor
from toy import BAD, FILLER, GOOD, ONE_THREAD

WORDS = [*GOOD, *BAD, *FILLER]


def examples(folder: Path) -> list[str]:
    """The Python blocks of the card."""
    return re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def twenty_inputs(predictor: Predictor) -> list[tuple[str, ...]]:
    """Inputs of unequal length for a model: of no words, of one, of more than it reads."""
    generator = np.random.default_rng(5)
    counts = [0, 1, 90, *generator.integers(2, 40, 17).tolist()]
    if predictor.type == "tagging":
        return [tuple(generator.choice(WORDS, max(1, count))) for count in counts]
    columns = range(min(2, predictor.text_columns))
    return [tuple(" ".join(generator.choice(WORDS, count)) for _ in columns) for count in counts]


def answers_as_predict_does(folder: Path, example: str) -> None:
    """Run an example with 20 inputs of unequal length in the folder: it prints what `sdp predict` answers."""
    predictor = Predictor(folder)
    rows = [tuple(map(str, row)) for row in twenty_inputs(predictor)]
    given = [row if predictor.type == "tagging" or len(row) > 1 else row[0] for row in rows]
    (line,) = re.findall(r"^texts = .*$", example, re.MULTILINE)
    assert len(ast.literal_eval(line.removeprefix("texts = "))) > 1
    asked = example.replace(line, f"texts = {given!r}")
    # The environment of the tests may have the sources on its path; a server has neither.
    environment = {key: value for key, value in ONE_THREAD.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    if predictor.type == "tagging":
        assert printed == [line for tagged in predictor.tags(rows) for line in tagged_lines(tagged)]
        return
    # The text of an input may hold no tab here; what stands before it are the answer's fields.
    answers = predictor.answers([(*row, *[""] * (predictor.text_columns - len(row))) for row in rows])
    assert len(printed) == len(rows)
    for line, answer in zip(printed, answers, strict=True):
        assert line.split("\t")[:-1] == answer_line(answer).split("\t")
