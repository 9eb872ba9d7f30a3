"""Model folders with tokenizers of several kinds, trained on the toy words, as people have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, RobertaTokenizerFast

from support.toy import BAD, FILLER, GOOD, save_xlmr_tokenizer

WORDS = [*GOOD, *BAD, *FILLER]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMED = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))


def wordpiece(folder: Path, *, frame: bool = True, **options: Any) -> Path:
    """BERT's kind, in lower case; `options` as PreTrainedTokenizerFast takes them (None: without that token)."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(WORDS * 3, trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIAL))
    if frame:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    given = {name: token for name, token in {**NAMED, **options}.items() if token is not None}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_input_names=inputs, **given).save_pretrained(folder)
    return folder


def byte_level(folder: Path, **options: Any) -> Path:
    """RoBERTa's kind."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    model = json.loads(backend.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    RobertaTokenizerFast(vocab=model["vocab"], merges=merges, **options).save_pretrained(folder)
    return folder


def unigram(folder: Path) -> Path:
    """XLM-R's kind."""
    folder.mkdir(parents=True, exist_ok=True)
    save_xlmr_tokenizer(folder)
    return folder


def cased_by_its_config(folder: Path) -> Path:
    """A BERT tokenizer whose tokenizer.json keeps case, while tokenizer_config.json alone has do_lower_case."""
    wordpiece(folder)
    for name, change in (
        (
            "tokenizer.json",
            {
                "normalizer": {
                    "type": "BertNormalizer",
                    "lowercase": False,
                    "clean_text": True,
                    "handle_chinese_chars": True,
                    "strip_accents": None,
                }
            },
        ),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True}),
    ):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | change))
    return folder


def fixed_by_its_file(folder: Path) -> Path:
    """A tokenizer.json that pads to 128 tokens and cuts at 20 with a stride, as some sentence encoders have it."""
    wordpiece(folder)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(20, stride=3, strategy="only_first")
    backend.enable_padding(length=128)
    backend.save(str(folder / "tokenizer.json"))
    return folder


def added_later(folder: Path) -> Path:
    """A tokenizer that was given words and a special token of a project's own."""
    wordpiece(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["zürich", AddedToken("lovely-ish", single_word=True)])
    tokenizer.add_special_tokens({"additional_special_tokens": ["[USER]"]})
    tokenizer.save_pretrained(folder)
    return folder


KINDS: dict[str, Callable[[Path], Path]] = {
    "wordpiece": wordpiece,
    "cut on the left": lambda folder: wordpiece(folder, truncation_side="left"),
    "padded on the left": lambda folder: wordpiece(folder, padding_side="left"),
    "no padding token": lambda folder: wordpiece(folder, pad_token=None),
    "no frame": lambda folder: wordpiece(folder, frame=False, cls_token=None, sep_token=None),
    "special tokens split": lambda folder: wordpiece(folder, split_special_tokens=True),
    "cased by its config": cased_by_its_config,
    "fixed by its file": fixed_by_its_file,
    "byte level": byte_level,
    "byte level, cut on the left": lambda folder: byte_level(folder, truncation_side="left"),
    "a mask that takes the space before it": lambda folder: byte_level(
        folder, mask_token=AddedToken("<mask>", lstrip=True, special=True)
    ),
    "tokens added later": added_later,
    "unigram": unigram,
}
