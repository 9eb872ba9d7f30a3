"""Stage 0, of recipes with [vocabulary]: the pretrained model with fewer pieces. Everything after it reads this one.

Writes safetensors, config.json and the tokenizer (a transformers folder), old_ids.json (new id -> old id), and
vocabulary.json with what the kept pieces cover of the texts that were held out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from sdp.console import Reporter
from sdp.data.corpus import Corpus, read_corpus
from sdp.data.load import load_task_data
from sdp.errors import ModelError, RecipeError
from sdp.models.load import load_tokenizer
from sdp.models.source import locate_model
from sdp.recipe.sections import Recipe
from sdp.recipe.vocabulary import VocabularySection
from sdp.run_folder import RunFolder, write_json
from sdp.vocabulary.coverage import Comparison, Coverage, count_pieces, plain_tokenizer
from sdp.vocabulary.pieces import choose_pieces
from sdp.vocabulary.tokenizer_json import HINT, Inventory, read_inventory, trim_tokenizer
from sdp.vocabulary.weights import read_config, token_ids, trim_config, trim_weights

REPORT_FILE = "vocabulary.json"
TOKENIZER_FILE = "tokenizer.json"


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Choose the pieces by the corpus, cut tokenizer and embeddings down to them, and judge by the held-out texts."""
    section = recipe.vocabulary
    if section is None:
        raise RecipeError("the recipe has no [vocabulary]")
    folder = locate_model(recipe.model)
    tokenizer = load_tokenizer(folder.path, trust_remote_code=recipe.model.trust_remote_code)
    content = tokenizer_content(tokenizer, str(folder.path))
    inventory = read_inventory(content, str(folder.path))
    config = read_config(folder)
    corpus = _read(recipe, section)
    reporter.line(f"  counting the pieces of {sum(map(len, corpus.counted.values())):,} texts")
    before = plain_tokenizer(json.dumps(content))
    weights = piece_weights(before, corpus)
    also = token_ids(config)
    old_ids = choose_covering_pieces(before, content, inventory, weights, section.size, corpus, also)
    trim_weights(folder, target, old_ids)
    trim_config(config, target, old_ids)
    tokenizer.save_pretrained(target)
    small = json.dumps(trim_tokenizer(content, old_ids), ensure_ascii=False, indent=2)
    (target / TOKENIZER_FILE).write_text(small, encoding="utf-8")
    write_json(target / "old_ids.json", {"old_ids": old_ids})
    reporter.line("  judging by the texts that were held out")
    # The files are what counts: the tokenizer is read back.
    after = plain_tokenizer(load_tokenizer(target).backend_tokenizer.to_str())
    comparison = Comparison(before, after, old_ids, inventory.unknown)
    parts = {part: comparison.coverage(texts) for part, texts in corpus.held_out.items()}
    report = _report(inventory, corpus, weights, old_ids, parts)
    write_json(target / REPORT_FILE, report)
    return {"pieces": len(old_ids), "words as before": report["coverage"]["same_words"]}


def _read(recipe: Recipe, section: VocabularySection) -> Corpus:
    if section.corpus is not None:
        return read_corpus(recipe, section, {})
    data = load_task_data(recipe)
    return read_corpus(recipe, section, {"train": data.train, "dev": data.dev})


def tokenizer_content(tokenizer: PreTrainedTokenizerBase, where: str) -> dict[str, Any]:
    """The JSON of a tokenizer, as the tokenizers library writes it.

    Raises:
        ModelError: it runs in Python and has none.
    """
    if not tokenizer.is_fast:
        raise ModelError("the tokenizer has no tokenizer.json, nor can one be made", where=where, hint=HINT)
    content: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return content


def piece_weights(tokenizer: Tokenizer, corpus: Corpus) -> NDArray[np.float64]:
    """How much each piece is used, [V]: the mean over the languages of its share of their pieces."""
    counts = [count_pieces(tokenizer, texts) for texts in corpus.counted.values()]
    shares = [found / found.sum() for found in counts if found.any()]
    return np.asarray(np.sum(shares, axis=0) / len(shares))


def choose_covering_pieces(
    before: Tokenizer,
    content: dict[str, Any],
    inventory: Inventory,
    weights: NDArray[np.float64],
    size: int,
    corpus: Corpus,
    also: Mapping[str, int],
) -> list[int]:
    """Choose pieces so that nothing that was counted becomes unknown.

    A character that has no piece of its own can become unknown when the piece that held it goes; the pieces of such a
    word then must stay, and the choice is made again.
    """
    must_stay = set(also.values())
    while True:
        old_ids = choose_pieces(inventory, weights, size, also=must_stay, pad=also.get("pad_token_id"))
        after = plain_tokenizer(json.dumps(trim_tokenizer(content, old_ids)))
        comparison = Comparison(before, after, old_ids, inventory.unknown)
        lost = set().union(*(comparison.newly_unknown(texts) for texts in corpus.counted.values()))
        if not lost:
            return old_ids
        must_stay |= lost


def _report(
    inventory: Inventory,
    corpus: Corpus,
    weights: NDArray[np.float64],
    old_ids: list[int],
    parts: Mapping[str, Coverage],
) -> dict[str, Any]:
    """vocabulary.json: sizes, texts, and the coverage of all held-out texts and of each language's."""
    total = Coverage()
    for part in parts.values():
        total += part
    return {
        "kind": inventory.kind,
        "pieces_before": len(inventory.pieces),
        "pieces_after": len(old_ids),
        "pieces_used": int(np.count_nonzero(weights)),
        "counted_texts": sum(map(len, corpus.counted.values())),
        "held_out_texts": sum(map(len, corpus.held_out.values())),
        "coverage": total.to_json(),
        "parts": {name: part.to_json() for name, part in parts.items()} if set(parts) != {""} else {},
    }
