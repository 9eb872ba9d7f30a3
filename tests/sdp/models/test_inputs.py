"""Which inputs a model is given, and that padding changes none of its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    FNetConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLNetConfig,
)

from sdp.errors import ModelError
from sdp.evaluation.torch_network import torch_network
from sdp.models.inputs import fit_tokenizer, pieces_beyond, require_embeddings
from sdp.models.tokenizer import load_tokenizer
from sdp_onnx.deploy.tokenization import TextTokenizer
from support.tokenizer_kinds import wordpiece

SHAPE = {"vocab_size": 150, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY = {**SHAPE, "intermediate_size": 16, "max_position_embeddings": 64, "pad_token_id": 0}
XLNET = XLNetConfig(vocab_size=150, d_model=16, n_layer=1, n_head=2, d_inner=16)
TYPES = ("input_ids", "attention_mask", "token_type_ids")
# Left alone, the first three break off the export, the first step of training, and the first forward pass.
CASES: list[tuple[PreTrainedConfig, tuple[str, ...]]] = [
    (DistilBertConfig(vocab_size=150, dim=16, n_layers=1, n_heads=2, hidden_dim=16), TYPES[:2]),
    (RobertaConfig(**TINY, type_vocab_size=1), TYPES[:2]),
    (DebertaV2Config(**TINY, type_vocab_size=0), TYPES[:2]),
    (MPNetConfig(**{**TINY, "pad_token_id": 1}), TYPES[:2]),
    (BertConfig(**TINY), TYPES),
    (XLNET, TYPES),
]


def model_of(config: PreTrainedConfig, *, tagger: bool = False) -> PreTrainedModel:
    torch.manual_seed(0)
    made = (AutoModelForTokenClassification if tagger else AutoModelForSequenceClassification).from_config(config)
    assert isinstance(made, PreTrainedModel)
    return made


def answers(model: PreTrainedModel, tokenizer: TextTokenizer, *rows: tuple[str, ...]) -> np.ndarray:
    batch = tokenizer.pad([row.inputs for row in tokenizer.encode(rows)])
    return torch_network(model)({name: torch.from_numpy(values) for name, values in batch.items()})


@pytest.mark.parametrize(("config", "inputs"), CASES, ids=lambda value: getattr(value, "model_type", ""))
def test_a_model_gets_the_inputs_that_it_has(config: PreTrainedConfig, inputs: tuple[str, ...], tmp_path: Path) -> None:
    model = model_of(config)
    fitted = fit_tokenizer(load_tokenizer(wordpiece(tmp_path)), model)
    assert fitted.inputs == inputs
    pair = ("good film", "bad plot")
    assert np.isfinite(answers(model, fitted, pair, ("the", "a"))).all()


@pytest.mark.parametrize("tagger", [False, True])
@pytest.mark.parametrize("config", [config for config, _ in CASES], ids=lambda config: config.model_type)
@pytest.mark.parametrize("side", ["left", "right"])
def test_no_answer_depends_on_the_padding(config: PreTrainedConfig, side: str, tmp_path: Path, *, tagger: bool) -> None:
    model = model_of(config, tagger=tagger)
    fitted = fit_tokenizer(load_tokenizer(wordpiece(tmp_path, padding_side=side)), model)
    texts = ("good film", "the story was a very dull plot with some music")
    alone = answers(model, fitted, (texts[0],))[0]
    padded = answers(model, fitted, *((text,) for text in texts))[0]
    if tagger:
        padded = padded[: len(alone)] if fitted.padding.side == "right" else padded[-len(alone) :]
    np.testing.assert_allclose(padded, alone, rtol=1e-3, atol=1e-5)
    # A BERT reads off the first token: padded on the left, that is padding.
    if config.model_type == "bert" and not tagger:
        assert fitted.padding.side == "right"


def test_without_a_padding_token_the_models_own_is_taken(tmp_path: Path) -> None:
    own = load_tokenizer(wordpiece(tmp_path, pad_token=None))
    assert fit_tokenizer(own, model_of(BertConfig(**{**TINY, "pad_token_id": 4}))).padding.id == 4
    none = fit_tokenizer(own, model_of(BertConfig(**{**TINY, "pad_token_id": None})))
    assert (none.padding.id, none.padding.token) == (0, "[PAD]")


def test_a_model_without_an_attention_mask_is_refused(tmp_path: Path) -> None:
    shape = {**SHAPE, "intermediate_size": 16}
    with pytest.raises(ModelError, match="the model takes no attention_mask"):
        fit_tokenizer(load_tokenizer(wordpiece(tmp_path)), model_of(FNetConfig(**shape)))


def test_more_token_types_than_the_model_has(tmp_path: Path) -> None:
    folder = wordpiece(tmp_path)
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace('"type_id": 1', '"type_id": 2'))
    with pytest.raises(ModelError, match="gives 3 token types, and the model has 2"):
        fit_tokenizer(load_tokenizer(folder), model_of(BertConfig(**TINY)))


def test_a_piece_that_no_split_but_test_has_is_found(tmp_path: Path) -> None:
    model = model_of(BertConfig(**{**TINY, "vocab_size": 60}))
    tokenizer = load_tokenizer(wordpiece(tmp_path))
    assert pieces_beyond(tokenizer, model)
    assert not pieces_beyond(tokenizer, model_of(BertConfig(**TINY)))
    rows = [{"input_ids": [2, 5, 3]}, {"input_ids": [2, 70, 3]}]
    with pytest.raises(ModelError, match="gives piece 70 at test row 2"):
        require_embeddings(model, rows, "there", "test")
