"""How many tokens a model takes, and recipes that ask for more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sdp.check.facts import Facts, this_machine
from sdp.check.plan import make_plan
from sdp.check.speed import speed_findings
from sdp.errors import ModelError
from sdp.models.positions import fitting_lengths, position_limit, require_positions
from sdp.models.source import ModelFolder
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import run_pipeline
from sdp.recipe import load_recipe
from support.toy import write_project

SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 20,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
DISTILBERT = {"dim": 8, "hidden_dim": 8, "n_layers": 1, "n_heads": 2}
XLM = {"emb_dim": 8, "n_layers": 1, "n_heads": 2}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("bert", {}, 20),
        ("albert", {"embedding_size": 4}, 20),
        ("distilbert", DISTILBERT, 20),
        ("electra", {}, 20),
        ("xlm", XLM, 20),
        ("flaubert", XLM, 20),
        ("deberta", RELATIVE, 20),
        ("deberta-v2", {**RELATIVE, "position_biased_input": True}, 20),
        ("deberta-v2", {**RELATIVE, "position_biased_input": False}, None),
        ("modernbert", {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}, None),
        ("roberta", {}, 18),
        ("roberta", {"pad_token_id": 0}, 19),
        ("camembert", {}, 18),
        ("xlm-roberta", {"pad_token_id": 3}, 16),
        ("mpnet", {}, 18),
    ],
)
def test_the_limit_is_where_torch_fails(kind: str, settings: dict[str, Any], expected: int | None) -> None:
    config = CONFIG_MAPPING[kind](**(SIZES | settings))
    assert position_limit(json.loads(config.to_json_string())) == expected
    model = AutoModel.from_config(config).eval()

    def takes(tokens: int) -> bool:
        ids = torch.full((1, tokens), 5)
        try:
            with torch.no_grad():
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (RuntimeError, IndexError):
            return False
        return True

    assert takes(expected or 20)
    assert takes((expected or 20) + 1) is (expected is None)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"model_type": "bert"}, None),
        ({"model_type": "of-its-own", "max_position_embeddings": 20}, None),
        ({"model_type": ["bert"], "max_position_embeddings": 20}, None),
        ({"model_type": "bert", "max_position_embeddings": "many"}, None),
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": None}, 512),
        ({"model_type": "esm", "max_position_embeddings": 20, "position_embedding_type": "rotary"}, None),
    ],
)
def test_configs_that_do_not_say_all(config: dict[str, Any], expected: int | None) -> None:
    assert position_limit(config) == expected


@pytest.fixture
def project(tmp_path: Path, toy_model: Path) -> Path:
    """A recipe for a model of 64 positions."""
    return write_project(tmp_path, toy_model)


@pytest.mark.parametrize(
    ("override", "words", "hint"),
    [
        ("data.max_length=65", "the model can take 64 tokens, and data.max_length is 65", "data.max_length=64"),
        ("bench.sequence_lengths=['task', 32, 65, 128]", "has 65, 128", 'bench.sequence_lengths=["task", 32]'),
        ("bench.sequence_lengths=[128]", "has 128", "bench.sequence_lengths=[64]"),
    ],
)
def test_lengths_above_the_positions_are_refused_before_training(
    project: Path, override: str, words: str, hint: str
) -> None:
    recipe, run = load_recipe(project, [override]), RunFolder(project.parent / "run")
    with pytest.raises(ModelError, match=words) as at_check:
        make_plan(recipe, run)
    with pytest.raises(ModelError, match=words) as at_run:
        run_pipeline(recipe, run, "ship", Reporter(quiet=True))
    assert at_check.value.where == at_run.value.where == str((project.parent / "model").resolve() / "config.json")
    assert hint in at_check.value.hint
    require_positions(load_recipe(project, [hint]), ModelFolder("toy", project.parent / "model"))


def test_a_default_length_above_the_positions_is_left_out(project: Path) -> None:
    content = project.read_text().replace('sequence_lengths = ["task", 16]\n', "")
    project.write_text(content)
    recipe = load_recipe(project)
    assert recipe.bench.sequence_lengths == ("task", 128)
    require_positions(recipe, ModelFolder("toy", project.parent / "model"))
    assert fitting_lengths(recipe.bench, 64).sequence_lengths == ("task",)
    assert fitting_lengths(recipe.bench, 128) == fitting_lengths(recipe.bench, None) == recipe.bench
    (note,) = [f for f in speed_findings(Facts(recipe, this_machine(), {}, positions=64)) if "length" in f.subject]
    assert "128 is left out: the model can take 64 tokens" in note.sentence
    assert make_plan(recipe, RunFolder(project.parent / "run")).findings.count(note) == 1
