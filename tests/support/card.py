"""The examples of a shipped folder's README.md, run as a server would run them."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdp.cli.commands.predict import answer_line, tagged_lines
from sdp_onnx.deploy.predictor import Answer, Predictor
from support.toy import BAD, FILLER, GOOD, ONE_THREAD

WORDS = [*GOOD, *BAD, *FILLER]


def examples(folder: Path) -> list[str]:
    """The Python blocks of the card."""
    return re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def twenty_inputs(predictor: Predictor) -> list[tuple[str, ...]]:
    """Inputs of unequal length for a model: of no words, of one, of more than it reads."""
    generator = np.random.default_rng(5)
    counts = [0, 1, 90, *generator.integers(2, 40, 17).tolist()]
    if predictor.type == "tagging":
        return [tuple(generator.choice(WORDS, max(1, count)).tolist()) for count in counts]
    if predictor.type == "question-answering":
        # What reads the files alone takes no question that fills a window by itself.
        questions = [" ".join(generator.choice(WORDS, 3)) for _ in counts]
        return [
            (question, " ".join(generator.choice(WORDS, count)))
            for question, count in zip(questions, counts, strict=True)
        ]
    columns = range(min(2, predictor.text_columns))
    return [tuple(" ".join(generator.choice(WORDS, count)) for _ in columns) for count in counts]


def serves_as_predict_does(folder: Path) -> None:
    """Ask the serving example, without its server, about 20 inputs: it gives what `sdp predict` answers."""
    file = Path(__file__).parents[2] / "toolchain" / "serving" / "serve.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL", str(folder))
        answers = runpy.run_path(str(file))["model"].answers
    predictor = Predictor(folder)
    rows = [(*row, *["good"] * (predictor.text_columns - len(row))) for row in twenty_inputs(predictor)]
    if predictor.type == "tagging":
        expected: list[Any] = [
            [{"word": word, **(tag(answer) if answer else {})} for word, answer in tagged]
            for tagged in predictor.tags(rows)
        ]
    else:
        expected = [tag(answer) for answer in predictor.answers(rows)]
    given = [row[0] if predictor.type != "tagging" and len(row) == 1 else list(row) for row in rows]
    assert answers(given) == expected


def tag(answer: Answer) -> dict[str, Any]:
    """An answer as the service gives it."""
    if answer.score is not None:
        return {"score": pytest.approx(answer.score, abs=1e-5)}
    if answer.vector is not None:
        return {"vector": pytest.approx(answer.vector, abs=1e-5)}
    if answer.answer is not None:
        return {"answer": answer.answer, "start": answer.start}
    if answer.labels is not None:
        return {"labels": {name: pytest.approx(answer.probabilities[name], abs=1e-5) for name in answer.labels}}
    return {"label": answer.label, "probability": pytest.approx(answer.probability, abs=1e-5)}


def answers_as_predict_does(folder: Path, example: str) -> None:
    """Run an example with 20 inputs of unequal length in the folder: it prints what `sdp predict` answers."""
    predictor = Predictor(folder)
    rows = twenty_inputs(predictor)
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
        if answer.vector is not None:
            # Rounded at the last digit, which depends on the batch.
            numbers = [float(number) for number in line.split("\t")[0].split()]
            assert numbers == pytest.approx(answer.vector, abs=1e-5)
            continue
        fields = answer_line(answer).split("\t")
        # The example of answers prints no probability.
        assert line.split("\t")[:-1] == (fields[:1] if answer.answer is not None else fields)
