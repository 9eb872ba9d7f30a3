"""The tokenizer of a pretrained model, as the tokenizer.json that training reads and that is shipped.

transformers decides what a tokenizer is by code and by several files: casing, the space before a word, the side that is
cut, the padding token. All of it is put into one tokenizer.json when the model is fine-tuned, and nothing after that
reads anything else.

Byte-level and metaspace tokenizers mark the beginning of a word by the space before it. A word by itself has none, and
such a tokenizer takes it for the inside of a longer word, which the model has learned otherwise. transformers' option
for that is `add_prefix_space`; for tagging, `with_word_start` puts it into tokenizer.json.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sdp.data.batches import TokenizedSplit
from sdp.data.rows import Split
from sdp.data.rows_on_disk import row_lengths
from sdp.errors import ModelError, StageError
from sdp.pipeline.files import read_json, write_json
from sdp_onnx.deploy.tokenization import FRAME, TOKENIZER_FILE, Padding, Side, TextTokenizer, segments, translate_errors
from sdp_onnx.errors import ModelFileError

CONFIG_FILE = "tokenizer_config.json"
# The tokenizer's threads and the data loader do not mix; sdp tokenizes before training starts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Of several scripts and kinds; a vocabulary that has none of a word's letters shows no difference.
_PROBES = ("the house runs 1990 (and) x", "Zürich été дом", "東京 مدينة a")


def pretrained_tokenizer(path: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """transformers' own tokenizer of a model folder.

    Raises:
        ModelError: the files are there but damaged or of an unknown kind, or it runs in Python alone.
    """
    with translate_errors(lambda reason: ModelError(f"the tokenizer cannot be loaded: {reason}", where=str(path))):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    if not tokenizer.is_fast:
        what = (
            f"{type(tokenizer).__name__} exists in Python only: no tokenizer.json can be made of it, "
            "and the exported model could not be used without transformers"
        )
        hint = "Choose a model whose folder has a tokenizer.json, or one that transformers can convert to it."
        raise ModelError(what, where=str(path), hint=hint)
    return tokenizer


def load_tokenizer(path: Path, *, trust_remote_code: bool = False, words: bool = False) -> TextTokenizer:
    """The tokenizer of a model folder, complete in itself.

    Args:
        path: the folder.
        trust_remote_code: allow code that comes with the model.
        words: whether it will be given words one by one, as for tagging.

    Raises:
        ModelError: as `pretrained_tokenizer`; or it takes words that come one by one for parts of words.
    """
    loaded = pretrained_tokenizer(path, trust_remote_code=trust_remote_code)
    with translate_errors(lambda reason: ModelError(f"the tokenizer cannot be loaded: {reason}", where=str(path))):
        backend = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    # Without what other programs left in it: a fixed length, a stride.
    backend.no_truncation()
    backend.no_padding()
    if words:
        backend = with_word_start(backend, str(path))
    sides: dict[str, Side] = {"left": "left", "right": "right"}
    padding = Padding(side=sides[loaded.padding_side])
    if loaded.pad_token_id is not None:
        padding = Padding(loaded.pad_token_id, str(loaded.pad_token), loaded.pad_token_type_id, padding.side)
    named = {name: str(token) for name, token in loaded.special_tokens_map.items() if not isinstance(token, list)}
    return TextTokenizer(backend, loaded.model_input_names, named, padding, sides[loaded.truncation_side])


def save_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    """Write tokenizer.json, and the tokenizer_config.json with which transformers reads it as it is."""
    tokenizer.write(folder)
    config: dict[str, Any] = {
        # Its own class would build the tokenizer anew from the vocabulary. Releases 4 and 5 know this one.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": list(tokenizer.inputs),
        "padding_side": tokenizer.padding.side,
        "truncation_side": tokenizer.cut_side,
        **tokenizer.named,
        "pad_token": tokenizer.padding.token,
        "pad_token_type_id": tokenizer.padding.type_id,
    }
    if tokenizer.max_length is not None:
        config["model_max_length"] = tokenizer.max_length
    write_json(folder / CONFIG_FILE, config)


def saved_tokenizer(folder: Path) -> TextTokenizer:
    """The tokenizer that `save_tokenizer` wrote to a stage's folder.

    Raises:
        ModelError: a file is missing or damaged.
    """
    config = read_json(folder / CONFIG_FILE)
    try:
        if config is None:
            raise ValueError(f"{CONFIG_FILE} is missing or damaged")
        named = {name: token for name, token in config.items() if name.endswith("_token") and isinstance(token, str)}
        return TextTokenizer.read(folder, config["model_input_names"], named)
    except (ModelFileError, ValueError, KeyError, TypeError) as error:
        what = error.what if isinstance(error, ModelFileError) else str(error)
        hint = "Delete the stage's folder: the same command makes it again."
        raise ModelError(f"the tokenizer cannot be read: {what}", where=str(folder), hint=hint) from None


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


# The shortest rows, the longest, and some between: what is cut is among the longest.
_OF_EACH = 8


def check_tokenizer(folder: Path, split: Split, rows: TokenizedSplit) -> None:
    """Tokenize some rows as somebody does who has the file and nothing else.

    Args:
        folder: holds tokenizer.json.
        split: the rows that the model is scored on.
        rows: the same, tokenized as in training.

    Raises:
        StageError: a row gets other tokens.
    """
    if rows.windows is not None:
        _check_windows(folder, split, rows)
        return
    order = np.argsort(row_lengths(rows.rows), kind="stable")
    between = order[:: max(1, len(order) // _OF_EACH)]
    chosen = np.unique(np.concatenate([order[:_OF_EACH], between, order[-_OF_EACH:]])).tolist()
    texts = [split.texts[place] for place in chosen]
    words = split.tags is not None
    given = [list(row) if words else row[0] if len(row) == 1 else segments(row) for row in texts]
    encodings = Tokenizer.from_file(str(folder / TOKENIZER_FILE)).encode_batch(given, is_pretokenized=words)
    for place, encoding in zip(chosen, encodings, strict=True):
        found = _real_tokens(encoding)
        # A text of no tokens is one padding token, which the file alone has no place for.
        if found and found != rows.rows[place]["input_ids"]:
            raise _other_tokens(folder, split, place)


def _check_windows(folder: Path, split: Split, rows: TokenizedSplit) -> None:
    """Tokenize some questions; the file reads their contexts in windows too."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    longest = (tokenizer.truncation or {})["max_length"]
    owners = rows.windows.owners if rows.windows is not None else np.empty(0, np.int64)
    for place in range(0, len(split), max(1, len(split) // (2 * _OF_EACH))):
        question, context = split.texts[place]
        # A longer question loses its end before the file is asked.
        if 2 * len(question.encode()) > longest - 2 * FRAME:
            continue
        encoding = tokenizer.encode(question, context)
        found = [_real_tokens(part) for part in (encoding, *encoding.overflowing)]
        if found != [rows.rows[window]["input_ids"] for window in np.flatnonzero(owners == place).tolist()]:
            raise _other_tokens(folder, split, place)


def _real_tokens(encoding: Encoding) -> list[int]:
    return [index for index, real in zip(encoding.ids, encoding.attention_mask, strict=True) if real]


def _other_tokens(folder: Path, split: Split, place: int) -> StageError:
    return StageError(
        f"row {place + 1} of {split.name} gets other tokens than the model was scored on",
        where=str(folder / TOKENIZER_FILE),
        hint="Run once more in another folder (--run-dir); if it stays so, it is a fault of sdp.",
    )
