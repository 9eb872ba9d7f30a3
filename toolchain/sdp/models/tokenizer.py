"""The tokenizer of a pretrained model, as the tokenizer.json that training reads and that is shipped.

transformers decides what a tokenizer is by code and by several files: casing, the space before a word, the side that is
cut, the padding token. All of it is put into one tokenizer.json when the model is fine-tuned, and nothing after that
reads anything else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sdp.errors import ModelError
from sdp.models.word_start import with_word_start
from sdp.pipeline.json_file import read_json, write_json
from sdp_onnx.deploy.tokenization import Padding, Side, TextTokenizer, translate_errors
from sdp_onnx.errors import ModelFileError

CONFIG_FILE = "tokenizer_config.json"
# The tokenizer's threads and the data loader do not mix; sdp tokenizes before training starts.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
