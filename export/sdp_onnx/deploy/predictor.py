"""Predict from an exported folder alone: tokenizer.json, config.json, model.onnx. No torch, no transformers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.deploy.answers import best_span, combine
from sdp_onnx.deploy.manifest import MANIFEST, ProblemType
from sdp_onnx.deploy.tokenization import INPUT_NAMES, Row, TextTokenizer, TokenizedText, translate_errors
from sdp_onnx.errors import ModelFileError, ModelRunError, UsageError
from sdp_onnx.model.files import read_json
from sdp_onnx.runtimes.registry import default_runtime

BATCH_SIZE = 32
"""Rows of one call: larger batches are not faster on a CPU, and need more padding."""


@dataclass(frozen=True)
class Answer:
    """The model's prediction for one input, or for one word of it.

    Attributes:
        label: the likeliest class; None for regression, ranking, multi-label, embedding and question answering.
        probability: probability of this class, or of the answer to a question (see `answers.Span`); None for
            regression, ranking, multi-label and embedding.
        score: the predicted value of a regression or ranking; None for classes.
        probabilities: probability of every class or label by name; empty for regression, ranking and embedding.
        labels: multi-label: the labels with a probability of a half and more, in the order of the model's outputs; None
            for other tasks.
        vector: the embedding of the text; None for other tasks.
        answer: the answer to a question, as it stands in the context; empty where there is none; None for other tasks.
        start: its first character in the context; None for other tasks.
    """

    label: str | None
    probability: float | None
    score: float | None
    probabilities: dict[str, float]
    labels: tuple[str, ...] | None = None
    vector: tuple[float, ...] | None = None
    answer: str | None = None
    start: int | None = None


Tagged = list[tuple[str, Answer | None]]
"""The words of a sentence with their predictions; None for a word without one."""
_SCORES = ("regression", "ranking")


def _count(manifest: dict[str, Any], key: str) -> int:
    value = manifest[key]
    if type(value) is not int or value < 1:
        raise ValueError(f"{key} is {value!r}")
    return value


def _labels(config: dict[str, Any], kind: ProblemType) -> list[str]:
    """Return the names of the outputs; those of an embedding, and those for start and end of an answer, have none."""
    if kind in ("embedding", "question-answering"):
        return []
    return [str(config["id2label"][str(index)]) for index in range(len(config["id2label"]))]


def _names(names: object, columns: int) -> tuple[str, ...]:
    """Return the names of the text columns; empty for an export of an older version without them."""
    if names is None:
        return ()
    if not isinstance(names, list) or len(names) != columns or not all(isinstance(name, str) for name in names):
        raise ValueError(f"text_names is {names!r}")
    return tuple(names)


def _check_texts(texts: Sequence[str]) -> None:
    """Check that texts are valid Unicode: bytes in another encoding arrive from a command line as lone surrogates.

    Raises:
        UsageError: a text is not.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the text {text[:40]!r} is not UTF-8", hint="Give it in UTF-8.") from None


class Predictor:
    """An exported model, loaded once.

    Attributes:
        type: the problem type of its task.
        text_columns: number of texts of one input.
        columns: their names in training; empty for an export of an older version without them.
    """

    def __init__(self, folder: Path) -> None:
        """Load model, tokenizer and label names.

        Raises:
            ModelFileError: a file of the exported folder is missing or damaged.
        """
        config, manifest = read_json(folder / "config.json"), read_json(folder / MANIFEST)
        if config is None or manifest is None:
            missing = "config.json" if config is None else MANIFEST
            raise ModelFileError(
                f"{missing} is missing or damaged", where=str(folder), hint="Export again: sdp export RUN"
            )
        with translate_errors(
            lambda reason: ModelFileError(f"tokenizer.json cannot be read: {reason}", where=str(folder))
        ):
            self._tokenizer = TextTokenizer.read(folder)
        self._folder = folder
        try:
            self.text_columns, length = (_count(manifest, key) for key in ("text_columns", "max_length"))
            self.type: ProblemType = manifest["problem_type"]
            self._labels = _labels(config, self.type)
            self._optional = manifest.get("optional_answers", False) is True
            self._cut(length)
            self.columns = _names(manifest.get("text_names"), self.text_columns)
        except KeyError as error:
            what = f"manifest.json or config.json lacks {error}: another version of sdp wrote it"
            raise ModelFileError(what, where=str(folder), hint="Export again: sdp export RUN") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise self._damaged(f"manifest.json or config.json: {error}") from None
        if self.type not in get_args(ProblemType) or len(set(self._labels)) < len(self._labels):
            raise self._damaged(f"problem_type is {self.type!r}, the labels are {self._labels}")
        self._model = default_runtime().load(folder / "model.onnx")
        if any(name not in INPUT_NAMES for name in self._model.input_names):
            raise self._damaged(f"the model takes {list(self._model.input_names)}")

    def _cut(self, length: int) -> None:
        """Cut longer texts at a number of tokens, or read them in windows that share as many as the file states."""
        if self.type != "question-answering":
            self._tokenizer.cut_at(length)
            return
        stored = self._tokenizer.backend.truncation
        if stored is None:
            raise ValueError("tokenizer.json has no windows")
        self._tokenizer.cut_in_windows(length, stored["stride"])

    def __call__(self, *texts: str) -> Answer:
        """Predict for one input: one text, or as many as the task has columns of text.

        Raises:
            UsageError: the task needs another number of texts, or tags words.
        """
        return self.answers([texts])[0]

    def answers(self, rows: Sequence[Sequence[str]]) -> list[Answer]:
        """Predict for many inputs, in their order.

        Args:
            rows: the texts of each input, as many as the task has text columns.

        Raises:
            UsageError: a row has another number of texts than the task needs, or the task tags words.
        """
        if self.type == "tagging":
            raise UsageError("this model tags words; call tags()")
        for texts in rows:
            if len(texts) != self.text_columns:
                raise UsageError(
                    f"this model takes {self.text_columns} text{'s' * (self.text_columns > 1)}, not {len(texts)}"
                )
        if self.type == "question-answering":
            return self._found(rows)
        _, logits = self._logits(rows)
        return [self._answer(row) for row in logits]

    def _found(self, rows: Sequence[Sequence[str]]) -> list[Answer]:
        """Answer questions, each with its context."""
        pairs = [(question, " ".join(contexts)) for question, *contexts in rows]
        for texts in rows:
            _check_texts(texts)
        with self._tokenizer_errors():
            windows = self._tokenizer.encode_windows(pairs)
        logits = iter(self._run([window.inputs for own in windows for window in own]))
        answers = []
        for (_, context), own in zip(pairs, windows, strict=True):
            spans = [best_span(next(logits), np.array(window.offsets, np.int32)) for window in own]
            span = combine(spans, context, optional=self._optional)
            text = context[span.start : span.end]
            answers.append(Answer(None, span.probability, None, {}, answer=text, start=span.start))
        return answers

    def words(self, sentence: Sequence[str]) -> Tagged:
        """Tag the words of a sentence, as `tags` does."""
        return self.tags([sentence])[0]

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[Tagged]:
        """Tag the words of many sentences.

        Returns:
            the words of each sentence with their predictions; None for a word beyond the length limit or without a
            token.

        Raises:
            UsageError: the model does not tag words.
        """
        if self.type != "tagging":
            raise UsageError(f"this model does not tag words: its task is {self.type}")
        tagged = []
        for sentence, row, logits in zip(sentences, *self._logits(sentences), strict=True):
            found: dict[int, Answer] = {}
            for token, word in enumerate(row.words):
                if word is not None and word not in found:
                    found[word] = self._answer(logits[token])
            tagged.append([(word, found.get(place)) for place, word in enumerate(sentence)])
        return tagged

    def _logits(self, rows: Sequence[Sequence[str]]) -> tuple[list[TokenizedText], list[NDArray[np.float32]]]:
        """Return the tokens and the logits of each input, [C] or for tagging [L, C].

        Raises:
            UsageError: a text is no Unicode.
            ModelFileError: the files of the folder do not belong together.
        """
        for texts in rows:
            _check_texts(texts)
        with self._tokenizer_errors():
            tokenized = self._tokenizer.encode(rows, words=self.type == "tagging")
        return tokenized, self._run([row.inputs for row in tokenized])

    def _tokenizer_errors(self) -> AbstractContextManager[None]:
        return translate_errors(lambda reason: self._damaged(f"its tokenizer fails at this text: {reason}"))

    def _run(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """Logits in the order of the rows; rows of like length share a batch, which pads them little.

        Raises:
            ModelFileError: the files of the folder do not belong together.
        """
        lengths = [len(row["input_ids"]) for row in rows]
        order = np.argsort(lengths, kind="stable").tolist()
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
        for start in range(0, len(rows), BATCH_SIZE):
            places = order[start : start + BATCH_SIZE]
            batch = self._tokenizer.pad([rows[place] for place in places])
            try:
                output = self._model.run({name: batch[name] for name in self._model.input_names})
            except ModelRunError as error:
                raise self._damaged(error.what) from None
            logits = np.asarray(output, np.float32)
            self._check_logits(logits, batch["input_ids"].shape)
            for place, mask, row in zip(places, batch["attention_mask"], logits, strict=True):
                found[place] = row[mask == 1] if row.ndim == 2 else row
        return found

    def _check_logits(self, logits: NDArray[np.float32], shape: tuple[int, ...]) -> None:
        classes = 1 if self.type in _SCORES else len(self._labels)
        if self.type == "embedding" and logits.ndim == 2:
            # As long as the model makes it.
            classes = logits.shape[1]
        if self.type == "question-answering":
            # Start and end.
            classes = 2
        of_tokens = self.type in ("tagging", "question-answering")
        wanted = (*shape, classes) if of_tokens else (shape[0], classes)
        if logits.shape != wanted or not np.isfinite(logits).all():
            found = f"logits of shape {list(logits.shape)}" if logits.shape != wanted else "no finite numbers"
            raise self._damaged(f"the model gives {found}, and {list(wanted)} were expected")

    def _damaged(self, what: str) -> ModelFileError:
        """Return the error for files that do not match."""
        hint = "Export again (sdp export RUN), or copy all files again; sdp verify FOLDER checks a shipped one."
        return ModelFileError(f"the exported folder is damaged: {what}", where=str(self._folder), hint=hint)

    def _answer(self, logits: NDArray[np.float32]) -> Answer:
        """Return the prediction for logits [C]."""
        if self.type in _SCORES:
            return Answer(None, None, float(logits[0]), {})
        if self.type == "embedding":
            return Answer(None, None, None, {}, vector=tuple(logits.tolist()))
        if self.type == "multi-label":
            # Stable for logits of any size.
            shares = 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))
            by_name = dict(zip(self._labels, shares.tolist(), strict=True))
            return Answer(None, None, None, by_name, tuple(name for name, share in by_name.items() if share >= 0.5))
        shifted = np.exp(logits.astype(np.float64) - logits.max())
        probabilities = shifted / shifted.sum()
        best = int(probabilities.argmax())
        by_name = dict(zip(self._labels, probabilities.tolist(), strict=True))
        return Answer(self._labels[best], float(probabilities[best]), None, by_name)
