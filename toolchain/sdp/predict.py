"""Answers from an exported folder alone: tokenizer.json, config.json, model.onnx. No torch, no transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from sdp.errors import RunError, UsageError
from sdp.run_folder import read_json
from sdp.tasks import ProblemType
from sdp_onnx.session import create_session


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


def exported_folder(path: Path) -> Path:
    """The folder that holds model.onnx: `path` itself, or 4-export in a run folder.

    Raises:
        RunError: there is none.
    """
    for candidate in (path, path / "4-export"):
        if (candidate / "model.onnx").is_file():
            return candidate
    hint = "Give a run folder whose export is done (sdp export), or a copy of its 4-export."
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
            raise RunError(f"{missing} is missing or damaged", where=str(folder), hint="Export again: sdp export.")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises bare Exception for a missing or damaged file
            raise RunError(f"tokenizer.json cannot be read: {error}", where=str(folder)) from None
        self._tokenizer.no_padding()
        try:
            self._tokenizer.enable_truncation(int(manifest["max_length"]))
            self._columns = int(manifest["text_columns"])
            self.type: ProblemType = manifest["problem_type"]
            self._labels = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        except KeyError as error:
            what = f"manifest.json or config.json lacks {error}: another version of sdp wrote it"
            raise RunError(what, where=str(folder), hint="Export again: sdp export.") from None
        self._session: Any = create_session(folder / "model.onnx")

    def __call__(self, *texts: str) -> Answer:
        """Predict for one input: one text, or as many as the task has columns of text.

        Raises:
            UsageError: the number of texts is not what the task takes, or it is one of words.
        """
        if self.type == "tagging":
            raise UsageError("this model answers word by word; ask with words()")
        if len(texts) != self._columns:
            raise UsageError(f"this model takes {self._columns} text{'s' * (self._columns > 1)}, not {len(texts)}")
        # As in training: columns after the second stand behind it.
        second = " ".join(texts[1:]) if len(texts) > 1 else None
        return self._answer(self._logits(self._tokenizer.encode(texts[0], second))[0])

    def words(self, sentence: Sequence[str]) -> list[tuple[str, Answer | None]]:
        """Tag the words of a sentence.

        Returns:
            each word with what the model says; None for a word beyond the length limit or without a token.

        Raises:
            UsageError: the model is none that tags words.
        """
        if self.type != "tagging":
            raise UsageError(f"this model does not tag words: its task is {self.type}")
        encoding = self._tokenizer.encode(list(sentence), is_pretokenized=True)
        logits = self._logits(encoding)[0]
        said: dict[int, Answer] = {}
        for token, word in enumerate(encoding.word_ids):
            if word is not None and word not in said:
                said[word] = self._answer(logits[token])
        return [(word, said.get(place)) for place, word in enumerate(sentence)]

    def _logits(self, encoding: Encoding) -> NDArray[np.float32]:
        """The model's logits, [1, C] or for tagging [1, L, C]."""
        known = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        inputs = {value.name: np.array([known[value.name]], dtype=np.int64) for value in self._session.get_inputs()}
        logits: NDArray[np.float32] = self._session.run(None, inputs)[0]
        return logits

    def _answer(self, logits: NDArray[np.float32]) -> Answer:
        """What logits [C] say."""
        if self.type in ("regression", "ranking"):
            return Answer(None, None, float(logits[0]), {})
        shifted = np.exp(logits.astype(np.float64) - logits.max())
        probabilities = shifted / shifted.sum()
        best = int(probabilities.argmax())
        by_name = dict(zip(self._labels, probabilities.tolist(), strict=True))
        return Answer(self._labels[best], float(probabilities[best]), None, by_name)
