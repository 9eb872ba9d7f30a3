"""A cross-encoder, as sentence-transformers saves one, is pruned for the scores that it gives, and ranks as before."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.metrics import ndcg_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sdp_onnx.deploy.predictor import Predictor
from support.pruned_runs import read, set_options
from support.toy import FILLER, GOOD, save_tiny_model, sdp, write_project

SETTINGS = (
    "task.type='ranking'",
    "data.text=['query', 'passage']",
    "data.label='grade'",
    "data.group='query'",
    "finetune.epochs=0",
    "prune.labels=false",
    "bench.seconds=0.1",
)
# What sentence-transformers 6.2 writes beside config.json, the weights and the tokenizer.
OWN_FILES = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
    ],
    "sentence_bert_config.json": {"transformer_task": "sequence-classification", "module_output_name": "scores"},
    "config_sentence_transformers.json": {
        "activation_fn": "torch.nn.modules.activation.Sigmoid",
        "model_type": "CrossEncoder",
    },
}


def graded(seed: int) -> list[tuple[str, str, int]]:
    """Queries with passages, whose grade is the number of good words."""
    generator, rows = random.Random(seed), []
    for query in range(30):
        for _ in range(generator.randint(2, 5)):
            good = generator.randint(0, 3)
            words = [generator.choice(GOOD) for _ in range(good)] + [generator.choice(FILLER) for _ in range(4 - good)]
            rows.append((f"film {FILLER[query % 10]} {query}", " ".join(words), good))
    return rows


def save_cross_encoder(folder: Path) -> Path:
    """A network of one output that gives a pair its grade."""
    tiny = save_tiny_model(folder / "tiny")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows = graded(1) * 10
    random.Random(0).shuffle(rows)
    for start in range(0, len(rows), 16):
        queries, passages, grades = zip(*rows[start : start + 16], strict=True)
        inputs = tokenizer(list(queries), list(passages), padding=True, return_tensors="pt")
        loss = torch.nn.functional.mse_loss(model(**inputs).logits[:, 0], torch.tensor(grades, dtype=torch.float32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder / "cross-encoder")
    tokenizer.save_pretrained(folder / "cross-encoder")
    for name, content in OWN_FILES.items():
        (folder / "cross-encoder" / name).write_text(json.dumps(content))
    return folder / "cross-encoder"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross-encoder")
    write_project(folder, save_cross_encoder(folder))
    for name, seed in (("train", 1), ("dev", 2)):
        lines = ["query\tpassage\tgrade", *("\t".join(map(str, row)) for row in graded(seed))]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    done = sdp("ship", "toy.toml", *set_options(*SETTINGS), cwd=folder, check=True)
    assert "the checkpoint's head is kept: it gives one score" in done.stderr
    return folder


def test_its_scores_are_what_pruning_learns(project: Path) -> None:
    run = project / "runs/toy"
    before, after = (
        load_file(folder / "model.safetensors") for folder in (project / "cross-encoder", run / "1-finetune")
    )
    assert all(np.array_equal(after[name], value) for name, value in before.items())
    rows = graded(2)
    grades = np.array([grade for _, _, grade in rows])
    scores = load_file(run / "3-evaluate/predictions.safetensors")
    values = {}
    for model in ("dense", "pruned"):
        own = scores[model][:, 0]
        lists = [[place for place, row in enumerate(rows) if row[0] == query] for query in {row[0] for row in rows}]
        ranked = [ndcg_score([grades[places]], [own[places]]) for places in lists if len(set(grades[places])) > 1]
        values[model] = read(run / "3-evaluate/metrics.json")["models"][model]["value"]
        assert values[model] == pytest.approx(np.mean(ranked))
    assert values["dense"] > 0.95
    assert values["pruned"] > values["dense"] - 0.1
    assert np.corrcoef(scores["dense"][:, 0], scores["pruned"][:, 0])[0, 1] > 0.8


def test_the_shipped_folder_scores_pairs(project: Path) -> None:
    """The score is the network's output; sentence-transformers' sigmoid, which keeps the order, is not in it."""
    predictor = Predictor(project / "runs/toy/8-ship")
    pairs = [(query, passage) for query, passage, _ in graded(2)[:12]]
    network = AutoModelForSequenceClassification.from_pretrained(project / "runs/toy/2-prune").eval()
    tokenizer = AutoTokenizer.from_pretrained(project / "runs/toy/2-prune")
    inputs = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = network(**inputs).logits[:, 0].numpy()
    assert [own.score for own in predictor.answers(pairs)] == pytest.approx(expected.tolist(), abs=1e-3)
