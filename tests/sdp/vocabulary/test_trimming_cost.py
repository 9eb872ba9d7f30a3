"""What trimming costs: the fine-tuned model with its pieces, against itself with all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sdp.data.batches import Collator
from sdp.data.corpus import split_texts
from sdp.data.load import load_task_data
from sdp.data.rows import Split
from sdp.errors import RunError
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.torch_network import torch_network
from sdp.models.inputs import fit_tokenizer
from sdp.models.load import load_finetuned, load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer, save_tokenizer, saved_tokenizer
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.vocabulary import KeptPieces
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe import Recipe, load_recipe
from sdp.report.summary import trimming_line
from sdp.training.inputs import tokenize_split
from sdp.vocabulary.trim import trim_model
from sdp.vocabulary.trimming_cost import kept_pieces, restore_pieces, trimming_cost, with_all_pieces
from sdp_onnx.bench.interval import Interval
from support.toy import toy_rows, write_project

SIZE = 300
CPU = torch.device("cpu")
# In the pretrained vocabulary, and not in the corpus.
FOREIGN = ["η έκθεση γράφτηκε πριν από τη συνάντηση", "この文は二つの部分に分かれている"]


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, unigram_model: Path, lines: list[str]
) -> tuple[Recipe, RunFolder]:
    """A run folder with a trimmed model, and a fine-tuned one that is it with other weights and a head."""
    folder = tmp_path_factory.mktemp("trimmed")
    recipe = load_recipe(write_project(folder, unigram_model, f"\n[vocabulary]\nsize = {SIZE}\n"))
    run = RunFolder(folder / "run")
    for name in ("0-vocabulary", "1-finetune"):
        run.stage(name).mkdir(parents=True)
    texts = [*lines[:200], *(text for text, _ in toy_rows(100, seed=5))]
    source = ModelFolder("m", unigram_model)
    trim_model(source, run.stage("0-vocabulary"), split_texts({"": texts}, 0.1), SIZE)
    trimmed = ModelFolder("m", run.stage("0-vocabulary"))
    torch.manual_seed(0)
    model = load_pretrained(trimmed, "classification", ("neg", "pos"), CPU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(run.stage("1-finetune"))
    save_tokenizer(fit_tokenizer(load_tokenizer(trimmed.path), model), run.stage("1-finetune"))
    return recipe, run


def context(recipe: Recipe, run: RunFolder) -> StageContext:
    return StageContext(recipe, run, run.partial("3-evaluate"), Reporter(quiet=True))


def foreign_split(count: int) -> Split:
    rows = [(text, int(label == "pos")) for text, label in toy_rows(count, seed=9)]
    rows += [(text, index % 2) for index, text in enumerate(FOREIGN * 3)]
    return Split("dev", tuple((text,) for text, _ in rows), np.array([n for _, n in rows]), ("",) * len(rows))


def test_only_rows_whose_tokens_differ_are_run_with_all_pieces(
    project: tuple[Recipe, RunFolder], unigram_model: Path
) -> None:
    recipe, run = project
    split, tuned = foreign_split(20), run.stage("1-finetune")
    tokenizer = saved_tokenizer(tuned)
    rows = tokenize_split(split, tokenizer, recipe)
    trimmed = predict_logits(torch_network(load_finetuned(tuned)), rows, Collator(tokenizer), 8)
    data = load_task_data(recipe)
    found = trimming_cost(context(recipe, run), data, split, rows, trimmed, CPU)
    assert (found.changed_rows, found.rows) == (6, 26)

    # The same by hand, on all rows: kept pieces as fine-tuned, the others as pretrained.
    model, pretrained = load_finetuned(tuned), load_tokenizer(unigram_model)
    pieces = pretrained.backend.get_vocab_size()
    old_ids = kept_pieces(KeptPieces.path(run), SIZE, pieces)
    whole = with_all_pieces(tokenizer, pretrained, old_ids)
    assert whole.backend.id_to_token(whole.padding.id) == "<pad>"
    kept = model.get_input_embeddings().weight.detach().clone()
    restore_pieces(model, ModelFolder("m", unigram_model), old_ids)
    table = model.get_input_embeddings().weight
    assert torch.equal(table[torch.from_numpy(old_ids)], kept)
    assert len(table) == pieces
    full = predict_logits(torch_network(model), tokenize_split(split, whole, recipe), Collator(whole), 8)
    np.testing.assert_allclose(full[:20], trimmed[:20], rtol=1e-4, atol=1e-5)
    assert np.abs(full[20:] - trimmed[20:]).max() > 1e-3
    accuracy = float((full.argmax(axis=1) == split.labels).mean())
    assert value_of(found.models["full"]) == pytest.approx(accuracy)
    assert value_of(found.drop) == pytest.approx(accuracy - value_of(found.models["trimmed"]))
    assert "6 of 26 rows are tokenised otherwise" in trimming_line(found)


def test_texts_of_kept_pieces_alone_cost_nothing(project: tuple[Recipe, RunFolder]) -> None:
    recipe, run = project
    data, tokenizer = load_task_data(recipe), saved_tokenizer(run.stage("1-finetune"))
    rows = tokenize_split(data.dev, tokenizer, recipe)
    logits = np.random.default_rng(0).normal(size=(len(data.dev), 2)).astype(np.float32)
    found = trimming_cost(context(recipe, run), data, data.dev, rows, logits, CPU)
    assert (found.changed_rows, found.drop) == (0, Interval.exact(0.0))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "written by another version of sdp: old_ids: field required"),
        ({"old_ids": []}, "no list of 3 pieces"),
        ({"old_ids": [1, 2]}, "no list of 3 pieces"),
        ({"old_ids": ["a"] * 3}, "damaged: old_ids.0"),
        ({"old_ids": [0, 1, 99]}, "no list of 3 pieces"),
        ({"old_ids": [0, 1, -1]}, "damaged: old_ids.2"),
    ],
)
def test_a_damaged_list_of_pieces_is_refused(content: dict[str, object], problem: str, tmp_path: Path) -> None:
    path = tmp_path / KeptPieces.FILE
    path.write_text(json.dumps({"source": {}, **content}))
    with pytest.raises(RunError, match=problem):
        kept_pieces(path, 3, 50)
