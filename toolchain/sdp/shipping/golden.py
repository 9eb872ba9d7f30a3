"""Golden inputs for a shipped folder: neutral sentences and drawn token ids, never a row of the data.

The data may be private or not to be passed on, and token ids are as good as the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sdp.tasks import ProblemType
from sdp_onnx.golden import GoldenCase, run_case, text_inputs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Short and dull, in several scripts, so that a tokenizer's normalisation is exercised.
SENTENCES = (
    "The library opens at nine on weekdays.",
    "Is there a train to the coast, and when does it leave?",
    "Der Brief kam gestern an, über München.",
    "L'été dernier, il a plu pendant trois jours.",
    "Поезд отправляется в восемь часов.",
    "今日は朝から雨が降っています。",
    "يفتح المتجر في الساعة التاسعة.",
)
# Rows and tokens of the drawn calls, as far as the model's limit goes; rows of one call differ in length.
SHAPES = ((1, 4), (1, 33), (2, 16), (7, 24), (1, 128))
SEED = 20210915


def golden_cases(
    session: Any,
    tokenizer: Tokenizer,
    config: dict[str, Any],
    *,
    problem_type: ProblemType,
    columns: int,
    max_length: int,
) -> tuple[GoldenCase, ...]:
    """Make inputs, and run the file on them.

    Args:
        session: an onnxruntime session of the exported file.
        tokenizer: the exported one.
        config: config.json.
        problem_type: of the task; a tagger is given words.
        columns: text columns of the task.
        max_length: longest input in tokens.
    """
    names = [value.name for value in session.get_inputs()]
    words = problem_type == "tagging"
    cases = []
    for place, sentence in enumerate(SENTENCES):
        following = (SENTENCES[(place + offset) % len(SENTENCES)] for offset in range(1, columns))
        text = tuple(sentence.split()) if words else (sentence, *following)
        inputs = text_inputs(tokenizer, text, names, words=words)
        cases.append(GoldenCase(f"sentence {place + 1}", text, inputs, run_case(session, inputs)))
    generator = np.random.default_rng(SEED)
    ordinary, frame = ordinary_tokens(tokenizer, config), tokenizer.encode("").ids
    for rows, longest in dict.fromkeys((rows, min(tokens, max_length)) for rows, tokens in SHAPES):
        inputs = drawn_inputs(rows, longest, names, ordinary, frame, config.get("pad_token_id") or 0, generator)
        name = f"drawn token ids, batch {rows}, {longest} tokens"
        cases.append(GoldenCase(name, (), inputs, run_case(session, inputs)))
    return tuple(cases)


def ordinary_tokens(tokenizer: Tokenizer, config: dict[str, Any]) -> NDArray[np.int64]:
    """Ids that the model has embeddings for, without special tokens."""
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    special = [index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    return np.setdiff1d(np.arange(min(known, config.get("vocab_size", known))), special)


def drawn_inputs(
    rows: int,
    longest: int,
    names: list[str],
    ordinary: NDArray[np.int64],
    frame: list[int],
    pad: int,
    generator: np.random.Generator,
) -> dict[str, NDArray[np.int64]]:
    """Rows of drawn token ids between the tokens that frame a text, padded to the length of the last row.

    Args:
        rows: number of rows, B.
        longest: length of the last row, L; the others are shorter.
        names: the model's inputs.
        ordinary: ids to draw from.
        frame: what an empty text is, such as [CLS] [SEP].
        pad: id of padding.
        generator: draws.

    Returns:
        inputs by name, each [B, L].
    """
    ids, mask = np.full((rows, longest), pad, np.int64), np.zeros((rows, longest), np.int64)
    for row in range(rows):
        inner = longest - len(frame)
        if row < rows - 1:
            inner = int(generator.integers(1, inner + 1))
        drawn = generator.choice(ordinary, inner)
        content = [*frame[:1], *drawn, *frame[1:]]
        ids[row, : len(content)], mask[row, : len(content)] = content, 1
    known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: known[name] for name in names}
