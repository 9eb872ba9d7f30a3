"""A tokenizer with some of its pieces: every id in its JSON is the new one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, processors
from tokenizers.models import BPE, Unigram, WordLevel, WordPiece
from tokenizers.pre_tokenizers import Whitespace

from sdp.errors import ModelError
from sdp.vocabulary.tokenizer_json import read_inventory, trim_tokenizer

PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
OLD_IDS = [0, 2, 3, 4, 6, 7, 8]


def content(tokenizer: Tokenizer) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(tokenizer.to_str())
    return made


def template() -> Any:
    marks = [("[CLS]", 3), ("[SEP]", 4)]
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )


def word_tokenizer(kind: str, post_processor: Any) -> Tokenizer:
    if kind == "WordPiece":
        model: Any = WordPiece({piece: index for index, piece in enumerate(PIECES)}, unk_token="[UNK]")
    else:
        model = Unigram([(piece, -float(index)) for index, piece in enumerate(PIECES)], unk_id=2)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(SPECIAL)
    # Beyond the model's own vocabulary: id 8.
    tokenizer.add_tokens([AddedToken("<user>")])
    tokenizer.post_processor = post_processor
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=9)
    return tokenizer


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram"])
@pytest.mark.parametrize(
    "post_processor",
    [
        template(),
        processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3)),
        processors.Sequence([processors.ByteLevel(), template()]),
        processors.RobertaProcessing(("[SEP]", 4), ("[CLS]", 3)),
    ],
    ids=["template", "bert", "sequence", "roberta"],
)
def test_it_has_the_same_words_in_new_ids(kind: str, post_processor: Any) -> None:
    before = word_tokenizer(kind, post_processor)
    whole = content(before)
    untouched = copy.deepcopy(whole)
    after = Tokenizer.from_str(json.dumps(trim_tokenizer(whole, OLD_IDS)))
    assert whole == untouched
    assert after.get_vocab_size() == len(OLD_IDS)
    for text in ("two three", "two <user> three", "[CLS] two", "four", ("two", "three")):
        pair = text if isinstance(text, tuple) else (text, None)
        one, other = before.encode(*pair), after.encode(*pair)
        assert [OLD_IDS[index] for index in other.ids] == one.ids
        assert (other.tokens, other.type_ids, other.attention_mask) == (one.tokens, one.type_ids, one.attention_mask)
    assert after.token_to_id("one") is None


def test_what_is_special() -> None:
    found = read_inventory(content(word_tokenizer("WordPiece", template())), "x")
    assert found.special == {0, 2, 3, 4, 8}
    assert (found.kind, found.unknown, found.prefix, found.scores) == ("WordPiece", 2, "##", ())
    assert found.pieces == (*PIECES, "<user>")
    found = read_inventory(content(word_tokenizer("Unigram", None)), "x")
    assert (found.unknown, found.prefix, found.scores) == (2, "", tuple(-float(index) for index in range(8)))


def test_bytes_that_unknown_characters_fall_back_on_are_special() -> None:
    vocabulary = [("<unk>", 0.0), *((f"<0x{value:02X}>", -9.0) for value in range(256)), ("one", -1.0), ("two", -2.0)]
    before = Tokenizer(Unigram(vocabulary, unk_id=0, byte_fallback=True))
    found = read_inventory(content(before), "x")
    assert found.special == set(range(257))
    old_ids = [*range(257), 258]
    after = Tokenizer.from_str(json.dumps(trim_tokenizer(content(before), old_ids)))
    assert [old_ids[index] for index in after.encode("twoé").ids] == before.encode("twoé").ids
    assert after.encode("é").tokens == ["<0xC3>", "<0xA9>"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]), "a BPE tokenizer cannot be trimmed"),
        (WordLevel({"a": 0}, unk_token="a"), "a WordLevel tokenizer cannot be trimmed"),
        (WordPiece({"a": 0, "b": 2}, unk_token="a"), "gaps"),
        (WordPiece({"a": 0, "b": 1}, unk_token="c"), "no unknown piece"),
        (Unigram([("a", 0.0)], unk_id=None), "no unknown piece"),
    ],
)
def test_what_cannot_be_trimmed(model: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        read_inventory(content(Tokenizer(model)), "the folder")
    assert caught.value.where == "the folder"
    assert "[vocabulary]" in str(caught.value.hint)
