"""Read the task's data for `sdp check`, completely, so that it fails where `sdp run` would. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.data.corpus import corpus_rows, count_texts
from sdp.data.identity import count_rows
from sdp.data.load import load_task_data
from sdp.data.profile import DataProfile, profile_data
from sdp.data.rows import Split, TaskData
from sdp.data.rows_on_disk import Apart, Texts
from sdp.data.source import resolve_source
from sdp.data.unlabeled import read_unlabeled
from sdp.errors import ModelError
from sdp.recipe.data import DataSection
from sdp.recipe.sections import Recipe
from sdp_onnx.deploy.tokenization import TOKENIZER_FILE, TextTokenizer, translate_errors


@dataclass(frozen=True)
class Rows:
    """Facts about a task's rows.

    Attributes:
        counts: split -> number of rows; None where there is no such split, or the number is unknown.
        profile: statistics of the rows; None where they are not downloaded.
        train: the training rows; None where they are not downloaded.
        corpus: texts by language in the corpus of [vocabulary]; empty without it, or where they are not downloaded.
        unlabeled: rows of data.unlabeled that the labelled data has not.
    """

    counts: dict[str, int | None]
    profile: DataProfile | None = None
    train: Split | None = None
    corpus: Mapping[str, int] = field(default_factory=dict)
    unlabeled: int = 0


def read_rows(recipe: Recipe) -> Rows:
    """Read a task's data from this machine.

    Raises:
        DataError: a file or a row cannot be used, or the evaluation split or a file of [vocabulary] does not exist.
    """
    source = None if recipe.data.docstrings is not None else resolve_source(recipe)
    if source is not None and source.dataset is not None and not Path(source.dataset).is_dir():
        return Rows(count_rows(recipe), corpus=_corpus(recipe, None))
    data = load_task_data(recipe)
    data.evaluation(recipe.evaluate.split)
    splits = {"train": data.train, "dev": data.dev, "test": data.test}
    counts = {name: None if split is None else len(split) for name, split in splits.items()}
    unlabeled = 0 if recipe.data.unlabeled is None else len(read_unlabeled(recipe, data))
    return Rows(counts, profile_data(data), data.train, _corpus(recipe, data), unlabeled)


def _corpus(recipe: Recipe, data: TaskData | None) -> dict[str, int]:
    """Count texts by language for [vocabulary]."""
    section = recipe.vocabulary
    if section is None or (section.corpus is None and data is None):
        return {}
    return count_texts(recipe, section, () if data is None else corpus_rows(recipe, data))


SAMPLE = 1000
# Characters per token in English and related languages, where the tokenizer has no tokenizer.json.
_CHARACTERS_PER_TOKEN = 4
_FRAME = 2
# Batches drawn to estimate their longest row.
_DRAWS = 200


def input_texts(recipe: Recipe, texts: Sequence[Texts]) -> Sequence[Texts]:
    """Return the texts of each input of the network: those of a row, or of an embedding every one by itself."""
    return Apart(texts, recipe.inputs_per_row) if recipe.task.problem_type == "embedding" else texts


def sampled_lengths(model: Path | None, texts: Sequence[Texts]) -> NDArray[np.int64]:
    """Return the tokens of at most SAMPLE evenly spread rows, not truncated.

    Args:
        model: a model folder. Without one, or a tokenizer.json in it, tokens are estimated from characters.
        texts: texts of at least one row.

    Raises:
        ModelError: the tokenizer.json is damaged.
    """
    chosen = [" ".join(row) for row in _sample(texts)]
    file = None if model is None else model / TOKENIZER_FILE
    if file is None or not file.is_file():
        return np.array([len(text) // _CHARACTERS_PER_TOKEN + _FRAME for text in chosen], dtype=np.int64)
    # Imported here: `sdp --help` does not need it.
    from tokenizers import Tokenizer

    with _damage(file):
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(chosen)], dtype=np.int64)


def sampled_windows(model: Path, texts: Sequence[Texts], data: DataSection) -> float:
    """Return the windows in which a context is read, the mean of at most SAMPLE evenly spread rows.

    Args:
        model: a model folder; without a tokenizer.json in it every context counts as one window.
        texts: question and context of at least one row.
        data: length of a window, and what neighbouring ones share.

    Raises:
        ModelError: the tokenizer.json is damaged.
    """
    file = model / TOKENIZER_FILE
    if not file.is_file():
        return 1.0
    with _damage(file):
        tokenizer = TextTokenizer.read(model)
        tokenizer.cut_in_windows(data.max_length, data.shared_tokens)
        windows = tokenizer.encode_windows([(question, context) for question, context in _sample(texts)])
    return sum(map(len, windows)) / len(windows)


def _sample(texts: Sequence[Texts]) -> list[Texts]:
    rows = np.unique(np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int))
    return [texts[int(row)] for row in rows]


def _damage(file: Path) -> AbstractContextManager[None]:
    return translate_errors(lambda reason: ModelError(f"the tokenizer cannot be loaded: {reason}", where=str(file)))


def share_in_words(share: float) -> str:
    """Return a share above 0 in words."""
    return f"about {share:.0%}" if share >= 0.005 else "less than 1%"


def padded_length(lengths: NDArray[np.int64], batch_size: int) -> float:
    """Return the mean padded length of a row in batches of random rows.

    Args:
        lengths: tokens of sampled rows, truncated.
        batch_size: rows in a batch.
    """
    drawn = np.random.default_rng(0).choice(lengths, size=(_DRAWS, batch_size))
    return float(drawn.max(axis=1).mean())
