"""Inputs of training stages: the data with the model's order of classes, tokenized rows, the dev metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit, tokenize, tokenize_windows, tokenize_words
from sdp.data.load import load_task_data
from sdp.data.rows import Split, TaskData
from sdp.data.rows_on_disk import Texts, TokenRow
from sdp.evaluation.metrics import predictions, score_predictions, why_undefined
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.torch_network import torch_network
from sdp.models.head import finetuned_order
from sdp.models.source import ModelFolder
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import FINETUNE
from sdp.recipe.sections import Recipe
from sdp_onnx.deploy.tokenization import TextTokenizer


def finetuned_data(recipe: Recipe, run: RunFolder) -> TaskData:
    """The task's data with its classes in the order of the fine-tuned model's outputs.

    Raises:
        RunError: the config.json of that model names other classes.
    """
    data = load_task_data(recipe)
    if not data.label_names:
        return data
    model = ModelFolder(recipe.model.name, run.stage(FINETUNE.folder))
    return data.in_order(finetuned_order(recipe, model, data.label_names))


def tokenize_split(split: Split, tokenizer: TextTokenizer, recipe: Recipe) -> TokenizedSplit:
    """Tokenize a split at the recipe's length limit; for tagging word by word, for embeddings text by text, for
    question answering in windows."""
    if recipe.task.problem_type == "embedding":
        own = split.apart()
        # Training has no pairs.
        compared = None if split.name == "train" else len(split.texts[0])
        return TokenizedSplit(tokenize(own.texts, tokenizer, recipe.data.max_length), own.labels, compared=compared)
    if split.answers is not None:
        return TokenizedSplit.of_questions(split, tokenizer, recipe.data.max_length, recipe.data.shared_tokens)
    return tokenize_whole(split, tokenizer, recipe)


def tokenize_whole(split: Split, tokenizer: TextTokenizer, recipe: Recipe) -> TokenizedSplit:
    """Tokenize each row as one, whatever the task: with as many rows as the split."""
    if split.tags is not None:
        return TokenizedSplit.of_words(split, tokenizer, recipe.data.max_length)
    return TokenizedSplit(tokenize(split.texts, tokenizer, recipe.data.max_length), split.labels)


def tokenize_texts(texts: Sequence[Texts], tokenizer: TextTokenizer, recipe: Recipe) -> Sequence[TokenRow]:
    """Tokenize rows without labels as `tokenize_split` does those of a split."""
    if recipe.task.problem_type == "tagging":
        return tokenize_words(texts, tokenizer, recipe.data.max_length)[0]
    if recipe.task.problem_type == "question-answering":
        return tokenize_windows(texts, tokenizer, recipe.data.max_length, recipe.data.shared_tokens)[0]
    return tokenize(texts, tokenizer, recipe.data.max_length)


def rows_to_learn(
    recipe: Recipe, data: TaskData, unlabeled: Sequence[Texts], tokenizer: TextTokenizer
) -> TokenizedSplit:
    """Tokenize the training rows, and behind them those without labels."""
    rows = tokenize_split(data.train, tokenizer, recipe)
    return rows.with_unlabeled(tokenize_texts(unlabeled, tokenizer, recipe)) if unlabeled else rows


class DevMetric:
    """The task's metric of a model on the dev rows that training may look at, as it stands when called.

    Attributes:
        rows: those rows, tokenized.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        dev: Split,
        tokenizer: TextTokenizer,
        collator: Collator,
        recipe: Recipe,
    ) -> None:
        self._model = model
        self._split = dev
        self.rows = tokenize_split(dev, tokenizer, recipe)
        self._collator = collator
        self._metric = recipe.task.score
        self._batch_size = recipe.evaluate.batch_size

    def logits(self) -> NDArray[np.float32]:
        """The model's logits on the dev rows, [N, C] (words for N in tagging)."""
        return predict_logits(torch_network(self._model), self.rows, self._collator, self._batch_size)

    def __call__(self) -> float | None:
        """The metric; None where it is undefined."""
        return self.measured()[0]

    def measured(self) -> tuple[float | None, str]:
        """The metric, or None and why it is undefined, in words."""
        predicted = predictions(self._metric, self.logits(), multi_label=self._split.multi_label)
        if reason := why_undefined(self._metric, self._split, predicted):
            return None, reason
        return score_predictions(self._metric, self._split, predicted), ""
