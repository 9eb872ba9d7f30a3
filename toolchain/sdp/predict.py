"""Answers from an exported folder alone: tokenizer.json, config.json, model.onnx. No torch, no transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sdp.errors import RunError, UsageError
from sdp.run_folder import read_json
from sdp_onnx.session import create_session


@dataclass(frozen=True)
class Answer:
    """What the model says about one input.

    Attributes:
        label: the likeliest class; None for regression.
        probability: of that class; None for regression.
        score: the predicted value of a regression; None for classification.
        probabilities: of every class by name; empty for regression.
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
        self._tokenizer.enable_truncation(int(manifest["max_length"]))
        self._tokenizer.no_padding()
        self._pair = len(manifest["recipe"]["data"].get("text") or ["text"]) == 2
        self._regression = manifest["problem_type"] == "regression"
        self._labels = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        self._session: Any = create_session(folder / "model.onnx")

    def __call__(self, *texts: str) -> Answer:
        """Predict for one input: one text, or two for a pair task.

        Raises:
            UsageError: the number of texts is not what the task takes.
        """
        expected = 2 if self._pair else 1
        if len(texts) != expected:
            raise UsageError(f"this model takes {expected} text{'s' if self._pair else ''}, not {len(texts)}")
        encoding = self._tokenizer.encode(texts[0], texts[1] if self._pair else None)
        known = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        inputs = {value.name: np.array([known[value.name]], dtype=np.int64) for value in self._session.get_inputs()}
        logits: NDArray[np.float32] = self._session.run(None, inputs)[0][0]
        if self._regression:
            return Answer(None, None, float(logits[0]), {})
        shifted = np.exp(logits.astype(np.float64) - logits.max())
        probabilities = shifted / shifted.sum()
        best = int(probabilities.argmax())
        by_name = dict(zip(self._labels, probabilities.tolist(), strict=True))
        return Answer(self._labels[best], float(probabilities[best]), None, by_name)
