"""Golden inputs for a shipped folder: neutral sentences and random token ids, never a row of the data.

The data may be private or not redistributable, and token ids reveal the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sdp.recipe.benchmark_tasks import ProblemType
from sdp_onnx.deploy.golden import GoldenCase, text_inputs
from sdp_onnx.deploy.tokenization import INPUT_NAMES, TextTokenizer
from sdp_onnx.runtimes.base import LoadedModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Short neutral sentences in several scripts, which exercise a tokenizer's normalisation.
SENTENCES = (
    "The library opens at nine on weekdays.",
    "Is there a train to the coast, and when does it leave?",
    "Der Brief kam gestern an, über München.",
    "L'été dernier, il a plu pendant trois jours.",
    "Поезд отправляется в восемь часов.",
    "今日は朝から雨が降っています。",
    "يفتح المتجر في الساعة التاسعة.",
)
# Rows and tokens of the random calls, within the model's limit; rows of a call differ in length.
SHAPES = ((1, 4), (1, 33), (2, 16), (7, 24), (1, 128))
SEED = 20210915
# Most tokens of the text that tests truncation; its logits are stored.
LONGEST_CUT = 512


def golden_cases(
    model: LoadedModel,
    tokenizer: TextTokenizer,
    pieces: int | None,
    *,
    problem_type: ProblemType,
    columns: int,
    max_length: int,
) -> tuple[GoldenCase, ...]:
    """Make inputs, and run the file on them.

    Args:
        model: the exported file.
        tokenizer: the exported one.
        pieces: the model's `vocab_size`; None where config.json has none.
        problem_type: of the task; a tagger is given words.
        columns: text columns of the task.
        max_length: longest input in tokens.
    """
    names = list(model.input_names)
    words = problem_type == "tagging"
    cases = []
    for name, sentence, *following in _sentences(columns, max_length):
        text = tuple(sentence.split()) if words else (sentence, *following)
        inputs = text_inputs(tokenizer, text, names, words=words)
        cases.append(GoldenCase(name, text, inputs, model.run(inputs)))
    generator = np.random.default_rng(SEED)
    ordinary, frame = ordinary_tokens(tokenizer.backend, pieces), tokenizer.backend.encode("").ids
    for rows, longest in dict.fromkeys((rows, min(tokens, max_length)) for rows, tokens in SHAPES):
        inputs = drawn_inputs(rows, longest, names, ordinary, frame, tokenizer, generator)
        name = f"drawn token ids, batch {rows}, {longest} tokens"
        cases.append(GoldenCase(name, (), inputs, model.run(inputs)))
    return tuple(cases)


def _sentences(columns: int, max_length: int) -> Iterator[tuple[str, ...]]:
    """Yield the names of cases with a text for each column; one case is truncated, where that costs little."""
    for place, sentence in enumerate(SENTENCES):
        following = (SENTENCES[(place + offset) % len(SENTENCES)] for offset in range(1, columns))
        yield (f"sentence {place + 1}", sentence, *following)
    if max_length <= LONGEST_CUT:
        # A word has at least one token.
        yield ("a text that is cut", " ".join([*SENTENCES[:2]] * (max_length // 8)), *SENTENCES[2 : columns + 1])


def ordinary_tokens(tokenizer: Tokenizer, pieces: int | None) -> NDArray[np.int64]:
    """Return the ids that have embeddings, without special tokens."""
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    special = [index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    return np.setdiff1d(np.arange(known if pieces is None else min(known, pieces)), special)


def drawn_inputs(
    rows: int,
    longest: int,
    names: list[str],
    ordinary: NDArray[np.int64],
    frame: list[int],
    tokenizer: TextTokenizer,
    generator: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Draw rows of random token ids between special tokens, padded to the length of the last row.

    Args:
        rows: number of rows, B.
        longest: length of the last row, L; the others are shorter.
        names: the model's inputs.
        ordinary: ids to draw from.
        frame: the tokens of an empty text, such as [CLS] [SEP].
        tokenizer: pads the shorter rows.
        generator: the random generator.

    Returns:
        inputs by name, each [B, L].
    """
    drawn = []
    for row in range(rows):
        inner = longest - len(frame)
        if row < rows - 1:
            inner = int(generator.integers(1, inner + 1))
        ids = [*frame[:1], *generator.choice(ordinary, inner).tolist(), *frame[1:]]
        drawn.append(dict(zip(INPUT_NAMES, (ids, [1] * len(ids), [0] * len(ids)), strict=True)))
    batch = tokenizer.pad(drawn)
    return {name: batch[name] for name in names}
