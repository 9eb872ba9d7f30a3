"""Drawn golden inputs: what is in a row, what frames it, what pads it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from sdp.shipping.golden import drawn_inputs, ordinary_tokens
from sdp_onnx.deploy.tokenization import TextTokenizer

NAMES = ["input_ids", "attention_mask"]


def tokenizer() -> TextTokenizer:
    return TextTokenizer(Tokenizer(WordLevel({"[PAD]": 0}, unk_token="[PAD]")))


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 8), longest=st.integers(3, 40), seed=st.integers(0, 2**32 - 1))
def test_rows_are_framed_drawn_and_padded(rows: int, longest: int, seed: int) -> None:
    ordinary = np.arange(10, 20)
    made = drawn_inputs(rows, longest, NAMES, ordinary, [1, 2], tokenizer(), np.random.default_rng(seed))
    assert list(made) == NAMES
    for ids, mask in zip(made["input_ids"], made["attention_mask"], strict=True):
        length = int(mask.sum())
        assert 3 <= length <= longest
        assert mask.tolist() == [1] * length + [0] * (longest - length)
        assert (ids[0], ids[length - 1]) == (1, 2)
        assert np.isin(ids[1 : length - 1], ordinary).all()
        assert not ids[length:].any()
    assert made["attention_mask"][-1].all()


def test_only_ids_with_embeddings_and_a_meaning_are_drawn() -> None:
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "a": 1, "b": 2, "c": 3}, unk_token="[PAD]"))
    tokenizer.add_special_tokens(["[PAD]"])
    tokenizer.add_tokens(["d"])
    assert ordinary_tokens(tokenizer, 4).tolist() == [1, 2, 3]
    assert ordinary_tokens(tokenizer, 64).tolist() == [1, 2, 3, 4]
    assert ordinary_tokens(tokenizer, None).tolist() == [1, 2, 3, 4]
