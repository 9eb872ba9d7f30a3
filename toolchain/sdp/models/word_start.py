"""Words that come one by one, tokenized as words of a text.

Byte-level and metaspace tokenizers mark the beginning of a word by the space before it. A word by itself has none, and
such a tokenizer takes it for the inside of a longer word, which the model has learned otherwise. transformers' option
for that is `add_prefix_space`; here it goes into tokenizer.json.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

from sdp.errors import ModelError
from sdp_onnx.deploy.tokenization import translate_errors

# Of several scripts and kinds; a vocabulary that has none of a word's letters shows no difference.
_PROBES = ("the house runs 1990 (and) x", "Zürich été дом", "東京 مدينة a")


def with_word_start(tokenizer: Tokenizer, where: str) -> Tokenizer:
    """A tokenizer that splits each of several words as it would behind a space.

    Args:
        tokenizer: as the model has it, without truncation and padding; left as it is.
        where: the model's folder, for messages.

    Returns:
        one like it where it does so already.

    Raises:
        ModelError: it does not, and cannot be made to.
    """
    with translate_errors(lambda reason: ModelError(f"the tokenizer fails: {reason}", where=where)):
        wanted = [_in_a_text(tokenizer, text.split()) for text in _PROBES]
        made = [Tokenizer.from_str(json.dumps(content)) for content in _variants(json.loads(tokenizer.to_str()))]
        alike = [
            sum(_one_by_one(one, text.split()) == ids for text, ids in zip(_PROBES, wanted, strict=True))
            for one in made
        ]
    # In a script that writes no spaces a text may be split in more ways than one.
    if max(alike) > 0:
        return made[alike.index(max(alike))]
    what = "the tokenizer splits a word that comes by itself in another way than the same word in a text"
    hint = "For tagging choose a model whose tokenizer marks no spaces, or set add_prefix_space in its tokenizer.json."
    raise ModelError(what, where=where, hint=hint)


def _one_by_one(tokenizer: Tokenizer, words: list[str]) -> list[int]:
    return list(tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False).ids)


def _in_a_text(tokenizer: Tokenizer, words: list[str]) -> list[int]:
    """The tokens of words in the middle of a text."""
    before = tokenizer.encode("x", add_special_tokens=False).ids
    return list(tokenizer.encode(" ".join(["x", *words]), add_special_tokens=False).ids[len(before) :])


def _variants(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A tokenizer as it is, then with a space before each word, by the ways that the tokenizers library has for it."""
    yield content
    changed = copy.deepcopy(content)
    for part in _parts(changed["pre_tokenizer"]):
        if part.get("type") == "ByteLevel":
            part["add_prefix_space"] = True
        elif part.get("type") == "Metaspace":
            part["prepend_scheme"] = "always"
    yield changed
    changed = copy.deepcopy(content)
    prepend, before = {"type": "Prepend", "prepend": " "}, changed["normalizer"]
    changed["normalizer"] = {"type": "Sequence", "normalizers": [prepend, *([before] if before else [])]}
    yield changed


def _parts(node: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if node is None:
        return
    yield node
    for inner in node.get("pretokenizers", ()):
        yield from _parts(inner)
