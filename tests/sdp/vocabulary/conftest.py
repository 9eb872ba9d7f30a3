"""Models of both kinds of tokenizer, and text to trim them by."""

from __future__ import annotations

import ast
import io
import json
from pathlib import Path

import pytest

STANDARD_LIBRARY = ("argparse", "calendar", "csv", "difflib", "logging", "mailbox", "pathlib", "pickle", "shutil")


def docstring_lines(module: str) -> list[str]:
    """The lines of the docstrings in a module of the standard library."""
    source = Path(ast.__file__).with_name(f"{module}.py")
    if not source.is_file():
        source = Path(ast.__file__).parent / module / "__init__.py"
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    found = (ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds))
    return [line.strip() for text in found for line in text.splitlines() if len(line) > 20]


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """Real English text."""
    return [line for module in STANDARD_LIBRARY for line in docstring_lines(module)]


def xlmr_normalizer() -> bytes:
    """SentencePiece's table of nmt_nfkc, which is XLM-R's: ligatures, full-width letters, kinds of spaces."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    written = io.BytesIO()
    options = {"vocab_size": 30, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["any text"]), model_writer=written, normalization_rule_name="nmt_nfkc", **options
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    table: bytes = model.normalizer_spec.precompiled_charsmap
    return table


@pytest.fixture(scope="session")
def unigram_model(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Path:
    """XLM-R with a head for masked words, tiny, and a Unigram tokenizer of its kind that was trained here."""
    import torch
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaTokenizer

    folder = tmp_path_factory.mktemp("unigram")
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained = SentencePieceUnigramTokenizer()
    foreign = ["η έκθεση γράφτηκε πριν από τη συνάντηση", "この文は二つの部分に分かれている", "Größe, Füße und Öl"] * 5
    trained.train_from_iterator(
        lines + foreign, vocab_size=1200, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    vocabulary = [tuple(piece) for piece in json.loads(trained.to_str())["model"]["vocab"]]
    tokenizer = XLMRobertaTokenizer(vocab=vocabulary, _spm_precompiled_charsmap=xlmr_normalizer())
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=130, pad_token_id=1, **sizes)
    XLMRobertaForMaskedLM(config).save_pretrained(folder)
    return folder
