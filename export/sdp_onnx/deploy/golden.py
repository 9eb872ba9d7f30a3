"""Golden inputs: inputs with an exported file's logits, stored beside the file to compare on another machine.

golden.json holds no row of any data set: only random token ids and a few neutral sentences.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.deploy.tokenization import TextTokenizer, translate_errors
from sdp_onnx.deploy.verify import logits_error
from sdp_onnx.errors import ModelFileError

GOLDEN = "golden.json"
FORMAT = 1


@dataclass(frozen=True)
class GoldenCase:
    """One call.

    Attributes:
        name: the case in words.
        text: what the inputs are tokens of: the text columns, or the words of a sentence; empty for drawn token ids.
        inputs: by name, each [B, L], int64.
        logits: of the file, [B, C], or [B, L, C] for tokens.
    """

    name: str
    text: tuple[str, ...]
    inputs: dict[str, NDArray[np.int64]]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """The content of golden.json.

    Attributes:
        tolerance: largest allowed difference, relative to the largest logit of the call.
        max_length: tokens to which a text is truncated.
        words: whether a text is given as its words.
        cases: the calls.
    """

    tolerance: float
    max_length: int
    words: bool
    cases: tuple[GoldenCase, ...]


def write_golden(folder: Path, golden: Golden) -> None:
    """Write golden.json."""
    cases = [
        {
            "name": case.name,
            "text": list(case.text),
            "inputs": {name: value.tolist() for name, value in case.inputs.items()},
            "logits": case.logits.tolist(),
        }
        for case in golden.cases
    ]
    content = {
        "format": FORMAT,
        "tolerance": golden.tolerance,
        "max_length": golden.max_length,
        "words": golden.words,
        "cases": cases,
    }
    (folder / GOLDEN).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def read_golden(folder: Path) -> Golden:
    """Read golden.json.

    Raises:
        ModelFileError: it is missing, damaged, or from another version.
    """
    path = folder / GOLDEN
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} of another version")
        cases = tuple(
            GoldenCase(
                case["name"],
                tuple(case["text"]),
                {name: np.array(value, np.int64) for name, value in case["inputs"].items()},
                np.array(case["logits"], np.float32),
            )
            for case in content["cases"]
        )
        return Golden(float(content["tolerance"]), int(content["max_length"]), bool(content["words"]), cases)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"the golden inputs cannot be read ({error})", where=str(path)) from error


def load_tokenizer(folder: Path, max_length: int) -> TextTokenizer:
    """Load the tokenizer of a folder; it truncates to `max_length` on the side that the file sets.

    Raises:
        ModelFileError: tokenizer.json is missing or damaged.
    """
    tokenizer = TextTokenizer.read(folder)
    tokenizer.cut_at(max_length)
    return tokenizer


def text_inputs(
    tokenizer: TextTokenizer, text: Sequence[str], names: Sequence[str], *, words: bool
) -> dict[str, NDArray[np.int64]]:
    """Tokenize one text, pair (columns after the second are appended to it) or list of words into inputs [1, L].

    Raises:
        ModelFileError: the tokenizer fails: its file is damaged.
    """
    with translate_errors(lambda reason: ModelFileError(f"the tokenizer fails at {' '.join(text)[:40]!r} ({reason})")):
        batch = tokenizer.pad([row.inputs for row in tokenizer.encode([text], words=words)])
    return {name: batch[name] for name in names}


def case_error(case: GoldenCase, logits: NDArray[np.float32]) -> float:
    """Return the largest difference to the stored logits, relative to the largest of them, without padding."""
    return logits_error(case.logits, logits, case.inputs.get("attention_mask"))
