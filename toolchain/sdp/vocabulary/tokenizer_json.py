"""Read a tokenizer's JSON, and write it with fewer pieces."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sdp.errors import ModelError

KINDS = ("Unigram", "WordPiece")
HINT = "sdp trims Unigram (XLM-R, SentencePiece) and WordPiece (BERT) vocabularies; remove [vocabulary]."


@dataclass(frozen=True)
class Inventory:
    """The pieces of a tokenizer.

    Attributes:
        kind: "Unigram" or "WordPiece".
        pieces: pieces by id; added tokens beyond the model's own vocabulary are at the end.
        scores: log probability of each piece of the model, by id; empty for WordPiece.
        special: ids that always stay: added tokens, the unknown piece, the tokens that the post-processor adds to a
            text, and the byte pieces of a tokenizer with byte fallback.
        unknown: id of the unknown piece.
        prefix: prefix of pieces that continue a word; "" for Unigram.
    """

    kind: str
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    special: frozenset[int]
    unknown: int
    prefix: str


def read_inventory(content: dict[str, Any], where: str) -> Inventory:
    """Read the pieces of a tokenizer's JSON.

    Args:
        content: the parsed result of `Tokenizer.to_str`.
        where: the model folder, for messages.

    Raises:
        ModelError: the tokenizer has another type (in BPE removing a piece breaks the pieces merged from it), or its
            ids have gaps, or it has no unknown piece.
    """
    model = content["model"]
    kind = model.get("type", "unknown")
    if kind not in KINDS:
        raise ModelError(f"a {kind} tokenizer cannot be trimmed", where=where, hint=HINT)
    by_id = {index: piece for index, (piece, _) in enumerate(model["vocab"])} if kind == "Unigram" else {}
    if kind == "WordPiece":
        by_id = {index: piece for piece, index in model["vocab"].items()}
    by_id |= {token["id"]: token["content"] for token in content["added_tokens"]}
    if sorted(by_id) != list(range(len(by_id))):
        raise ModelError("the ids of the tokenizer have gaps or repeat", where=where, hint="Remove [vocabulary].")
    pieces = tuple(by_id[index] for index in range(len(by_id)))
    unknown = model["unk_id"] if kind == "Unigram" else model["vocab"].get(model["unk_token"])
    if unknown is None:
        raise ModelError("the tokenizer has no unknown piece", where=where, hint="Remove [vocabulary].")
    special = {unknown, *(token["id"] for token in content["added_tokens"])}
    special |= {index for _, index in _post_processor_ids(content["post_processor"])}
    if model.get("byte_fallback"):
        bytes_ = {f"<0x{value:02X}>" for value in range(256)}
        special |= {index for index, piece in enumerate(pieces) if piece in bytes_}
    scores = tuple(score for _, score in model["vocab"]) if kind == "Unigram" else ()
    return Inventory(kind, pieces, scores, frozenset(special), unknown, model.get("continuing_subword_prefix", ""))


def trim_tokenizer(content: dict[str, Any], old_ids: Sequence[int]) -> dict[str, Any]:
    """Return the tokenizer with some of its pieces, renumbered: piece old_ids[n] gets the id n.

    Args:
        content: the parsed result of `Tokenizer.to_str`; not modified.
        old_ids: the pieces to keep, with all special ones.
    """
    new_ids = {old: new for new, old in enumerate(old_ids)}
    model = content["model"]
    if model["type"] == "Unigram":
        vocabulary: Any = [model["vocab"][old] for old in old_ids if old < len(model["vocab"])]
        changed = {"vocab": vocabulary, "unk_id": new_ids[model["unk_id"]]}
    else:
        kept = {new_ids[old]: piece for piece, old in model["vocab"].items() if old in new_ids}
        changed = {"vocab": {kept[new]: new for new in sorted(kept)}}
    small = {name: copy.deepcopy(part) for name, part in content.items() if name != "model"}
    small = {**small, "model": {**model, **changed}}
    for token in small["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    small["added_tokens"].sort(key=lambda token: token["id"])
    for place, index in _post_processor_ids(small["post_processor"]):
        place.replace(new_ids[index])
    if small["padding"] is not None:
        small["padding"]["pad_id"] = new_ids[small["padding"]["pad_id"]]
    return {name: small[name] for name in content}


@dataclass(frozen=True)
class _Place:
    """The position of an id in a list."""

    within: list[Any]
    index: int

    def replace(self, value: int) -> None:
        self.within[self.index] = value


def _post_processor_ids(node: dict[str, Any] | None) -> Iterator[tuple[_Place, int]]:
    """Yield every id in a post-processor with its position."""
    if node is None:
        return
    for inner in node.get("processors", ()):
        yield from _post_processor_ids(inner)
    for token in node.get("special_tokens", {}).values():
        for position, index in enumerate(list(token["ids"])):
            yield _Place(token["ids"], position), index
    for key in ("sep", "cls"):
        if key in node:
            yield _Place(node[key], 1), node[key][1]
