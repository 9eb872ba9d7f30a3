"""Real questions with real contexts: what a parameter is, and of which type, answered from the docstring.

    python benchmarks/studies/questions.py FOLDER [--train 8000]
    sdp run benchmarks/studies/recipes/questions.toml --set 'data.train="FOLDER/train.jsonl"' \\
        --set 'data.dev="FOLDER/dev.jsonl"' --set 'data.test="FOLDER/test.jsonl"'

The context is a docstring in NumPy's form, of functions and classes in installed packages; a question asks for the type
of one of its parameters, or for what it is: the first sentence of its description. Some ask for a
parameter of another docstring, and have no answer. All docstrings of a file are in one split.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from docstring_files import SHARES, digest, files_by_split
from sdp.data.docstrings import docstrings_of, normalized

PACKAGES = ("numpy", "pandas", "scipy", "sklearn", "matplotlib", "pyarrow")
_SECTION = re.compile(r"^Parameters\n-{3,}\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"^(\w+) : +(\S[^\n]*?)[ \t]*\n((?:[ \t]+[^\n]*\n?|\n)+)", re.MULTILINE)
_SENTENCE = re.compile(r"\s*(\S.*?)(?:\.(?=\s|$)|\n\s*\n|\Z)", re.DOTALL)
# Characters of a context, and words of an answer.
LONGEST, WORDS = 1500, 20
WITHOUT = 3
Row = dict[str, Any]


def main(
    folder: Annotated[Path, typer.Argument(help="Where train.jsonl, dev.jsonl and test.jsonl go.")],
    train: Annotated[int, typer.Option(min=1, help="Most rows of train; dev and test have an eighth of it.")] = 8000,
) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in rows_by_split().items():
        chosen = sorted(rows, key=digest_of_row)[: train if split == "train" else train // 8]
        lines = "".join(json.dumps(row) + "\n" for row in chosen)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        none = sum(not row["answers"]["text"] for row in chosen)
        typer.echo(f"{split}: {len(chosen):,} of {len(rows):,} questions, {none:,} without an answer")


def rows_by_split(packages: tuple[str, ...] = PACKAGES) -> dict[str, list[Row]]:
    """Return the questions of each split; a docstring is in one split, once."""
    found: dict[str, list[Row]] = {split: [] for split in SHARES}
    seen: set[str] = set()
    # A name that the docstrings before had, for questions without an answer.
    other = "axis"
    for split, file in files_by_split(packages):
        for docstring in docstrings_of(file):
            context = inspect.cleandoc(docstring)
            if len(context) > LONGEST or (key := normalized(context)) in seen:
                continue
            seen.add(key)
            rows = list(questions(context, other))
            found[split] += rows
            other = next((row["name"] for row in rows if row["answers"]["text"]), other)
    return found


def questions(context: str, other: str) -> Iterator[Row]:
    """Yield the questions on a docstring.

    Args:
        context: the docstring, without its indentation.
        other: name of a parameter; it is asked for where the docstring does not hold it.
    """
    section = _SECTION.search(context)
    if section is None:
        return
    for parameter in _PARAMETER.finditer(section[1]):
        name, start = parameter[1], section.start(1)
        kind = parameter[2]
        if len(kind.split()) <= WORDS:
            yield _row(f"What type is {name}?", name, context, kind, start + parameter.start(2))
        sentence = _SENTENCE.match(parameter[3])
        if sentence is not None and len(sentence[1].split()) <= WORDS:
            place = start + parameter.start(3) + sentence.start(1)
            yield _row(f"What is {name}?", name, context, sentence[1], place)
        if other not in context and digest(name + context)[0] % WITHOUT == 0:
            for asked in (f"What type is {other}?", f"What is {other}?"):
                yield _row(asked, other, context, "", 0)


def _row(question: str, name: str, context: str, answer: str, start: int) -> Row:
    answers = {"text": [answer], "answer_start": [start]} if answer else {"text": [], "answer_start": []}
    return {"question": question, "name": name, "context": context, "answers": answers}


def digest_of_row(row: Row) -> bytes:
    return digest(row["question"] + row["context"])


if __name__ == "__main__":
    typer.run(main)
