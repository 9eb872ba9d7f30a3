"""A shipped folder as an HTTP service: one onnxruntime session, with the number of threads that measured fastest.

Needs onnxruntime, tokenizers, numpy, fastapi and uvicorn; neither sdp nor torch. Copy this file and change it.

    MODEL=runs/quickstart/8-ship uvicorn --app-dir toolchain/serving serve:app
    curl localhost:8000/predict --json '{"texts": ["Solve a linear system.", "Draw a bar chart."]}'

A text is a string; for a task of two columns a list of two (for question answering the question and its context), for
tagging the list of a sentence's words.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from tokenizers import Tokenizer

MOST_TEXTS = 256
BATCH = 32
# Of the longest answer to a question.
MOST_TOKENS = 30


class Request(BaseModel):
    """A request of a client."""

    texts: list[str | list[str]] = Field(min_length=1, max_length=MOST_TEXTS)


class Model:
    """A shipped folder, loaded once; its session answers several requests at the same time."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.kind = self.manifest["problem_type"]
        names = {} if self.kind in ("embedding", "question-answering") else config["id2label"]
        self.labels = [names[str(index)] for index in range(len(names))]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = fastest_threads(self.manifest["benchmark"]["cases"])
        if self.manifest["operator_library"]:
            options.register_custom_ops_library(str(folder / self.manifest["operator_library"]))
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        # The file cuts and pads as in training.
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def answers(self, texts: list[str | list[str]]) -> list[Any]:
        """The answer to each text, in their order. Texts of like length share a batch: little of it is padding."""
        found: list[Any] = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda place: len(str(texts[place])))
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            for place, answer in zip(places, self._batch([texts[place] for place in places]), strict=True):
                found[place] = answer
        return found

    def _batch(self, texts: list[Any]) -> list[Any]:
        words = self.kind == "tagging"
        rows = [self._checked(text) for text in texts]
        encoded = self.tokenizer.encode_batch(rows, is_pretokenized=words)
        if not all(any(row.attention_mask) for row in encoded):
            raise HTTPException(422, "a text has no tokens")
        if self.kind == "question-answering":
            return [self._span(context, whole) for (_, context), whole in zip(rows, encoded, strict=True)]
        logits = self._logits(encoded)
        if not words:
            return [self._answer(row) for row in logits]
        return [self._tags(text, row.word_ids, found) for text, row, found in zip(texts, encoded, logits, strict=True)]

    def _logits(self, encoded: list[Any]) -> Any:
        known = {
            "input_ids": [row.ids for row in encoded],
            "attention_mask": [row.attention_mask for row in encoded],
            "token_type_ids": [row.type_ids for row in encoded],
        }
        feed = {value.name: np.array(known[value.name], np.int64) for value in self.session.get_inputs()}
        return np.asarray(self.session.run(None, feed)[0], np.float64)

    def _span(self, context: str, whole: Any) -> dict[str, Any]:
        """The best span of a context that the tokenizer cut into windows; none where the first token scores higher."""
        windows = [whole, *whole.overflowing]
        best, start, end, none = -np.inf, 0, 0, np.inf
        for window, scores in zip(windows, self._logits(windows), strict=True):
            inside = np.array(window.sequence_ids, dtype=object) == 1
            starts, ends = np.where(inside[:, None], scores, -np.inf).T
            for more in range(min(MOST_TOKENS, len(scores))):
                sums = starts[: len(starts) - more] + ends[more:]
                first = int(sums.argmax())
                if sums[first] > best:
                    best, start, end = sums[first], window.offsets[first][0], window.offsets[first + more][1]
            none = min(none, scores[window.attention_mask.index(1)].sum())
        if self.manifest.get("optional_answers") and best < none:
            start = end = 0
        return {"answer": context[start:end].strip(), "start": start}

    def _checked(self, text: str | list[str]) -> Any:
        """A text as the tokenizer takes it.

        Raises:
            HTTPException: it is not what the task takes.
        """
        wanted = self.manifest["text_columns"]
        if self.kind == "tagging":
            if isinstance(text, str):
                raise HTTPException(422, "this model tags words: send each sentence as the list of its words")
            return text
        columns = [text] if isinstance(text, str) else text
        if len(columns) != wanted:
            raise HTTPException(422, f"this model takes {wanted} text(s) for each input, not {len(columns)}")
        return columns[0] if wanted == 1 else (columns[0], " ".join(columns[1:]))

    def _answer(self, logits: Any) -> dict[str, Any]:
        if self.kind in ("regression", "ranking"):
            return {"score": float(logits[0])}
        if self.kind == "embedding":
            return {"vector": logits.tolist()}
        if self.kind == "multi-label":
            shares = 1 / (1 + np.exp(-logits))
            return {"labels": {self.labels[place]: float(shares[place]) for place in np.flatnonzero(shares >= 0.5)}}
        shares = np.exp(logits - logits.max())
        probabilities = shares / shares.sum()
        best = int(probabilities.argmax())
        return {"label": self.labels[best], "probability": float(probabilities[best])}

    def _tags(self, words: list[str], owners: list[int | None], logits: Any) -> list[dict[str, Any]]:
        """A word is read off at its first token; one that is cut off has no tag."""
        found: dict[int, dict[str, Any]] = {}
        for token, word in enumerate(owners):
            if word is not None and word not in found:
                found[word] = self._answer(logits[token])
        return [{"word": word, **found.get(place, {})} for place, word in enumerate(words)]


def fastest_threads(cases: list[dict[str, Any]]) -> int:
    """The number of threads with which a single text was answered fastest, of those that the run measured."""
    single = [case for case in cases if case["batch_size"] == min(case["batch_size"] for case in cases)]
    return int(min(single, key=lambda case: case["candidate"]["p50_ms"])["threads"])


model = Model(Path(os.environ["MODEL"]))
app = FastAPI(title=model.manifest["name"])


@app.get("/health")
def health() -> dict[str, str]:
    """Up, and with which model."""
    return {"model": model.manifest["name"], "task": model.kind}


# A plain function: FastAPI calls it in a thread, and the event loop stays free while onnxruntime works.
@app.post("/predict")
def predict(request: Request) -> dict[str, Any]:
    """Label and probability of each text, in their order; a score, labels, a vector, or word by word."""
    return {"answers": model.answers(request.texts)}
