"""Trim a model folder's vocabulary by a corpus, read the result back, and measure it on held-out texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from sdp.data.corpus import Corpus
from sdp.errors import ModelError
from sdp.models.parts import vocabulary_tensors
from sdp.models.source import CODE_PATTERN, ModelFolder
from sdp.models.tokenizer import pretrained_tokenizer
from sdp.pipeline.artifacts.vocabulary import KeptPieces, TrimmedVocabulary
from sdp.pipeline.files import write_json
from sdp.vocabulary.coverage import Comparison, Coverage, count_pieces, plain_tokenizer
from sdp.vocabulary.pieces import choose_pieces
from sdp.vocabulary.tokenizer_json import HINT, Inventory, read_inventory, trim_tokenizer

TOKENIZER_FILE = "tokenizer.json"


def trim_model(
    folder: ModelFolder, target: Path, corpus: Corpus, size: int, *, trust_remote_code: bool = False
) -> TrimmedVocabulary:
    """Write a model folder whose vocabulary holds at most `size` pieces, and old_ids.json (new id -> old id).

    Args:
        folder: the pretrained model.
        target: an existing folder.
        corpus: the texts that choose the pieces, and the held-out texts.
        size: most pieces to keep.
        trust_remote_code: allow code that comes with the model.

    Returns:
        the sizes, and the coverage of the held-out texts, in total and by language.

    Raises:
        ModelError: tokenizer or weights have a type that cannot be trimmed, or do not match.
        RecipeError: `size` is too small for the required pieces.
    """
    tokenizer = pretrained_tokenizer(folder.path, trust_remote_code=trust_remote_code)
    content = tokenizer_content(tokenizer, str(folder.path))
    inventory = read_inventory(content, str(folder.path))
    config = read_config(folder)
    before = plain_tokenizer(json.dumps(content))
    weights = piece_weights(before, corpus)
    old_ids = _choose(before, content, inventory, weights, size, corpus, token_ids(config))
    trim_weights(folder, target, old_ids)
    trim_config(config, target, old_ids)
    tokenizer.save_pretrained(target)
    small = json.dumps(trim_tokenizer(content, old_ids), ensure_ascii=False, indent=2)
    (target / TOKENIZER_FILE).write_text(small, encoding="utf-8")
    # The hashes of the source: a stage that uses old_ids.json reads the removed pieces from it.
    KeptPieces(old_ids=tuple(old_ids), source=folder.identity()).store(target)
    # The coverage is measured on the written file, so the tokenizer is read back.
    after = plain_tokenizer(
        pretrained_tokenizer(target, trust_remote_code=trust_remote_code).backend_tokenizer.to_str()
    )
    comparison = Comparison(before, after, old_ids, inventory.unknown)
    parts = {part: comparison.coverage(texts) for part, texts in corpus.held_out.items()}
    return _report(inventory, corpus, weights, old_ids, parts)


def tokenizer_content(tokenizer: PreTrainedTokenizerBase, where: str) -> dict[str, Any]:
    """Return the JSON of a tokenizer, as the tokenizers library writes it.

    Raises:
        ModelError: it is implemented in Python and has no JSON.
    """
    if not tokenizer.is_fast:
        raise ModelError("the tokenizer has no tokenizer.json, and none can be made of it", where=where, hint=HINT)
    content: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return content


def piece_weights(tokenizer: Tokenizer, corpus: Corpus) -> NDArray[np.float64]:
    """Return the use of each piece, [V]: the mean over languages of its share of their pieces."""
    counts = [count_pieces(tokenizer, texts) for texts in corpus.counted.values()]
    shares = [found / max(1, found.sum()) for found in counts]
    return np.asarray(np.mean(shares, axis=0))


def _choose(
    before: Tokenizer,
    content: dict[str, Any],
    inventory: Inventory,
    weights: NDArray[np.float64],
    size: int,
    corpus: Corpus,
    named: Mapping[str, int],
) -> list[int]:
    """Choose pieces so that no counted word becomes unknown.

    A character without its own piece becomes unknown if the piece that contains it is removed. The pieces of such words
    become required, and the choice is repeated.
    """
    must_stay = set(named.values())
    while True:
        old_ids = choose_pieces(inventory, weights, size, also=must_stay, pad=named.get("pad_token_id"))
        after = plain_tokenizer(json.dumps(trim_tokenizer(content, old_ids)))
        comparison = Comparison(before, after, old_ids, inventory.unknown)
        lost = {index for texts in corpus.counted.values() for index in comparison.newly_unknown(texts)}
        # No word is lost, or no more pieces can be required.
        if lost <= must_stay:
            return old_ids
        must_stay |= lost


def _report(
    inventory: Inventory,
    corpus: Corpus,
    weights: NDArray[np.float64],
    old_ids: list[int],
    parts: Mapping[str, Coverage],
) -> TrimmedVocabulary:
    total = Coverage()
    for part in parts.values():
        total += part
    return TrimmedVocabulary(
        kind=inventory.kind,
        pieces_before=len(inventory.pieces),
        pieces_after=len(old_ids),
        pieces_used=int(np.count_nonzero(weights)),
        texts=corpus.counts,
        counted_texts=sum(map(len, corpus.counted.values())),
        held_out_texts=sum(map(len, corpus.held_out.values())),
        coverage=total.report(),
        parts={name: part.report() for name, part in parts.items()} if set(parts) != {""} else {},
    )


INDEX_FILE = "model.safetensors.index.json"


def trim_weights(source: ModelFolder, target: Path, old_ids: Sequence[int]) -> None:
    """Copy a model folder's weights, and trim the tables over the vocabulary: row n is the old row old_ids[n].

    Args:
        source: the model folder.
        target: an existing folder for weights and model code.
        old_ids: the rows to keep.

    Raises:
        ModelError: there is no table of input embeddings, or it has fewer rows than the tokenizer has pieces.
    """
    tables = vocabulary_tensors(source)
    rows = next(iter(tables.values()))
    if max(old_ids) >= rows:
        what = f"the tokenizer has the piece {max(old_ids)}, and the embeddings have {rows} rows"
        raise ModelError(what, where=str(source.path), hint="Tokenizer and weights are of different models.")
    kept = torch.tensor(old_ids)
    for path in source.weight_files:
        with safe_open(path, framework="pt") as weights:
            tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
            metadata = weights.metadata()
        for name in sorted(tensors.keys() & tables.keys()):
            tensors[name] = tensors[name].index_select(0, kept)
        save_file(tensors, target / path.name, metadata=metadata)
    for path in sorted(path for pattern in (INDEX_FILE, CODE_PATTERN) for path in source.path.glob(pattern)):
        shutil.copy(path, target)


def read_config(folder: ModelFolder) -> dict[str, Any]:
    """Read the config of a model folder.

    Raises:
        ModelError: it is damaged.
    """
    path = folder.path / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not valid JSON: {error}", where=str(path)) from None
    if not isinstance(config, dict):
        raise ModelError("not a JSON object", where=str(path))
    return config


def token_ids(config: dict[str, Any]) -> dict[str, int]:
    """Return the token ids in a config: pad_token_id and similar keys."""
    return {key: value for key, value in config.items() if key.endswith("_token_id") and isinstance(value, int)}


def trim_config(config: dict[str, Any], target: Path, old_ids: Sequence[int]) -> None:
    """Write a model's config with the new number of pieces and the new ids."""
    new_ids = {old: new for new, old in enumerate(old_ids)}
    changed = {key: new_ids[value] for key, value in token_ids(config).items()}
    write_json(target / "config.json", {**config, "vocab_size": len(old_ids), **changed})
