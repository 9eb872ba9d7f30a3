"""Rows with several labels through the whole pipeline, on a tiny model, through the real command line."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import expit
from sklearn.metrics import f1_score

from support.card import answers_as_predict_does, examples, serves_as_predict_does
from support.toy import BAD, FILLER, GOOD, PREFLIGHT, save_tiny_model, sdp, write_project

LABELS = {"blame": BAD[:2], "music": ["music"], "praise": GOOD[:2]}


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def rows(count: int, seed: int) -> list[dict[str, object]]:
    """Fillers, among them words of none to all of the labels."""
    generator, made = random.Random(seed), []
    fillers = [word for word in FILLER if word != "music"]
    for _ in range(count):
        words = [generator.choice(fillers) for _ in range(generator.randint(1, 4))]
        labels = [name for name in LABELS if generator.random() < 0.4]
        for name in labels:
            words.insert(generator.randint(0, len(words)), generator.choice(LABELS[name]))
        made.append({"text": " ".join(words), "labels": labels})
    return made


def write(path: Path, made: list[dict[str, object]]) -> None:
    path.write_text("text,labels\n" + "".join(f"{row['text']},{'|'.join(row['labels'])}\n" for row in made))


@pytest.mark.parametrize("preflight", [(), pytest.param(PREFLIGHT, marks=pytest.mark.slow)], ids=["plain", "preflight"])
def test_from_a_csv_file_to_a_shipped_folder(preflight: tuple[str, ...], tmp_path: Path) -> None:
    held_out = rows(60, 2)
    write_project(tmp_path, save_tiny_model(tmp_path / "tiny"), '\n[[prune.losses]]\nname = "kld"\n')
    write(tmp_path / "train.csv", rows(600, 1))
    write(tmp_path / "dev.csv", held_out)
    overrides = {
        "task.type": '"multi-label"',
        "data.train": '"train.csv"',
        "data.dev": '"dev.csv"',
        "data.text": '["text"]',
        "data.label": '"labels"',
        "finetune.epochs": "40",
        "finetune.learning_rate": "1e-3",
        "bench.sequence_lengths": '["task"]',
        "bench.seconds": "0.1",
        "gate.max_class_drop": "0.9",
    }
    options = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    checked = sdp("check", "toy.toml", *options, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = sdp("run", "toy.toml", *options, *preflight, cwd=tmp_path, check=True)
    run = tmp_path / "runs" / "toy"
    assert "micro-f1 on dev" in done.stdout

    # The scores, from the stored logits, by scikit-learn.
    names = sorted(LABELS)
    truth = np.array([[name in row["labels"] for name in names] for row in held_out])
    logits = load_file(run / "3-evaluate/predictions.safetensors")
    metrics, exported = read(run / "3-evaluate/metrics.json"), read(run / "4-export/metrics.json")
    for model in ("dense", "pruned"):
        value = f1_score(truth, logits[model] >= 0, average="micro")
        assert metrics["models"][model]["value"] == pytest.approx(value)
        for place, own in enumerate(metrics["classes"]):
            assert own["class"] == names[place]
            assert own["rows"] == truth[:, place].sum()
            of_label = f1_score(truth[:, place], logits[model][:, place] >= 0)
            assert own["f1"][model]["value"] == pytest.approx(of_label)
    assert f1_score(truth, logits["dense"] >= 0, average="micro") > 0.9, "it learns"
    assert metrics["constant"]["answer"].startswith("always answering")
    changed = int(((logits["dense"] >= 0) != (logits["pruned"] >= 0)).any(axis=1).sum())
    assert metrics["flips"] == changed
    with (run / "3-evaluate/flips.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == changed
    assert exported["torch"]["max_relative_error"] < 1e-4
    assert exported["torch"]["same_predictions"] == 1
    config = read(run / "4-export/config.json")
    assert config["problem_type"] == "multi_label_classification"
    assert [config["id2label"][str(i)] for i in range(3)] == names

    text = str(held_out[0]["text"])
    line = sdp("predict", run, text, cwd=tmp_path, check=True).stdout.strip()
    answer = json.loads(sdp("predict", run, text, "--json", cwd=tmp_path, check=True).stdout)
    assert answer["label"] is None
    assert list(answer["probabilities"]) == names
    assert answer["labels"] == [name for name in names if answer["probabilities"][name] >= 0.5]
    assert line.split("\t")[0] == ("|".join(answer["labels"]) or "-")
    assert list(answer["probabilities"].values()) == pytest.approx(expit(logits["pruned"][0]), abs=1e-4)
    card = (run / "8-ship" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card
    for example in examples(run / "8-ship")[:2]:
        answers_as_predict_does(run / "8-ship", example)
    serves_as_predict_does(run / "8-ship")
    assert "praise" in (run / "report.html").read_text()
    compared = sdp("compare", run, run, cwd=tmp_path, check=True)
    assert "micro-f1" in compared.stdout


def test_init_makes_a_recipe_of_it(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", rows(300, 5))
    made = sdp(
        *("init", "all.csv", "--text", "text", "--label", "labels", "--type", "multi-label"),
        *("--model", str(save_tiny_model(tmp_path / "tiny"))),
        cwd=tmp_path,
        check=True,
    )
    assert "metric: micro-f1" in made.stdout
    with (tmp_path / "all-dev.csv").open(encoding="utf-8", newline="") as stream:
        labels = [row["labels"] for row in csv.DictReader(stream)]
    assert {part for own in labels for part in own.split("|") if part} == set(LABELS)
    assert "" in labels, "rows without a label stay"
    assert sdp("check", "all.toml", cwd=tmp_path).returncode == 0
