"""Answers from an exported folder alone: tokenizer.json, config.json, model.onnx. No torch, no transformers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from sdp.errors import RunError, UsageError
from sdp.json_file import read_json
from sdp.tasks import ProblemType
from sdp_onnx.regular_file import check_regular
from sdp_onnx.session import create_session
from sdp_onnx.tokenizer_errors import told_as


@dataclass(frozen=True)
class Answer:
    """What the model says about one input, or about one word of it.

    Attributes:
        label: the likeliest class; None for regression and ranking.
        probability: of that class; None for regression and ranking.
        score: the predicted value of a regression or ranking; None for classes.
        probabilities: of every class by name; empty for regression and ranking.
    """

    label: str | None
    probability: float | None
    score: float | None
    probabilities: dict[str, float]


# Inputs of a model, and what of a tokenizer's encoding each is.
_INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
_SCORES = ("regression", "ranking")


def _count(manifest: dict[str, Any], key: str) -> int:
    value = manifest[key]
    if type(value) is not int or value < 1:
        raise ValueError(f"{key} is {value!r}")
    return value


def _check_texts(texts: Sequence[str]) -> None:
    """See that texts are Unicode: bytes of another encoding come from a command line as halves of characters.

    Raises:
        UsageError: one is not.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the text {text[:40]!r} is not UTF-8", hint="Give it in UTF-8.") from None


def exported_folder(path: Path) -> Path:
    """The folder that holds model.onnx: `path` itself, or 4-export in a run folder.

    Raises:
        RunError: there is none.
    """
    for candidate in (path, path / "4-export"):
        if (candidate / "model.onnx").is_file():
            return candidate
    hint = "Give a run folder whose export is done (sdp export RUN), or a copy of its 4-export."
    raise RunError("no exported model here (model.onnx)", where=str(path), hint=hint)


class Predictor:
    """An exported model, loaded once."""

    def __init__(self, folder: Path) -> None:
        """Load model, tokenizer and label names.

        Raises:
            RunError: a file of the exported folder is missing or damaged.
        """
        config, manifest = read_json(folder / "config.json"), read_json(folder / "manifest.json")
        if config is None or manifest is None:
            missing = "config.json" if config is None else "manifest.json"
            raise RunError(f"{missing} is missing or damaged", where=str(folder), hint="Export again: sdp export RUN")
        with told_as(lambda reason: RunError(f"tokenizer.json cannot be read: {reason}", where=str(folder))):
            check_regular(folder / "tokenizer.json")
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._folder = folder
        try:
            self._columns, length = (_count(manifest, key) for key in ("text_columns", "max_length"))
            self.type: ProblemType = manifest["problem_type"]
            self._labels = [str(config["id2label"][str(index)]) for index in range(len(config["id2label"]))]
            self._tokenizer.enable_truncation(length)
        except KeyError as error:
            what = f"manifest.json or config.json lacks {error}: another version of sdp wrote it"
            raise RunError(what, where=str(folder), hint="Export again: sdp export RUN") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise self._damaged(f"manifest.json or config.json: {error}") from None
        if self.type not in get_args(ProblemType) or len(set(self._labels)) < len(self._labels):
            raise self._damaged(f"problem_type is {self.type!r}, the labels are {self._labels}")
        self._session: Any = create_session(folder / "model.onnx")
        if any(value.name not in _INPUTS for value in self._session.get_inputs()):
            raise self._damaged(f"the model takes {[value.name for value in self._session.get_inputs()]}")

    def __call__(self, *texts: str) -> Answer:
        """Predict for one input: one text, or as many as the task has columns of text.

        Raises:
            UsageError: the number of texts is not what the task takes, or it is one of words.
        """
        if self.type == "tagging":
            raise UsageError("this model answers word by word; ask with words()")
        _check_texts(texts)
        if len(texts) != self._columns:
            raise UsageError(f"this model takes {self._columns} text{'s' * (self._columns > 1)}, not {len(texts)}")
        # As in training: columns after the second stand behind it.
        second = " ".join(texts[1:]) if len(texts) > 1 else None
        with self._reading():
            encoding = self._tokenizer.encode(texts[0], second)
        return self._answer(self._logits(encoding)[0])

    def words(self, sentence: Sequence[str]) -> list[tuple[str, Answer | None]]:
        """Tag the words of a sentence.

        Returns:
            each word with what the model says; None for a word beyond the length limit or without a token.

        Raises:
            UsageError: the model is none that tags words.
        """
        if self.type != "tagging":
            raise UsageError(f"this model does not tag words: its task is {self.type}")
        _check_texts(sentence)
        with self._reading():
            encoding = self._tokenizer.encode(list(sentence), is_pretokenized=True)
        logits = self._logits(encoding)[0]
        said: dict[int, Answer] = {}
        for token, word in enumerate(encoding.word_ids):
            if word is not None and word not in said:
                said[word] = self._answer(logits[token])
        return [(word, said.get(place)) for place, word in enumerate(sentence)]

    def _logits(self, encoding: Encoding) -> NDArray[np.float32]:
        """The model's logits, [1, C] or for tagging [1, L, C].

        Raises:
            RunError: the files of the folder do not belong together.
        """
        inputs = {
            value.name: np.array([getattr(encoding, _INPUTS[value.name])], dtype=np.int64)
            for value in self._session.get_inputs()
        }
        try:
            logits: NDArray[np.float32] = np.asarray(self._session.run(None, inputs)[0], np.float32)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise self._damaged(f"the model does not run: {error}") from None
        classes = 1 if self.type in _SCORES else len(self._labels)
        wanted = (1, len(encoding.ids), classes) if self.type == "tagging" else (1, classes)
        if logits.shape != wanted or not np.isfinite(logits).all():
            found = f"logits of shape {list(logits.shape)}" if logits.shape != wanted else "no finite numbers"
            raise self._damaged(f"the model gives {found}, and {list(wanted)} were expected")
        return logits

    def _reading(self) -> AbstractContextManager[None]:
        return told_as(lambda reason: self._damaged(f"its tokenizer fails at this text: {reason}"))

    def _damaged(self, what: str) -> RunError:
        """The error for files that do not belong together."""
        hint = "Export again (sdp export RUN), or copy all files again; sdp verify FOLDER checks a shipped one."
        return RunError(f"the exported folder is damaged: {what}", where=str(self._folder), hint=hint)

    def _answer(self, logits: NDArray[np.float32]) -> Answer:
        """What logits [C] say."""
        if self.type in _SCORES:
            return Answer(None, None, float(logits[0]), {})
        shifted = np.exp(logits.astype(np.float64) - logits.max())
        probabilities = shifted / shifted.sum()
        best = int(probabilities.argmax())
        by_name = dict(zip(self._labels, probabilities.tolist(), strict=True))
        return Answer(self._labels[best], float(probabilities[best]), None, by_name)
