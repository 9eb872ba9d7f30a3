"""Questions with their contexts through the whole pipeline, on a tiny model, through the real command line."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForQuestionAnswering

from sdp_onnx.runtimes.registry import default_runtime
from support.card import answers_as_predict_does, examples, serves_as_predict_does
from support.toy import BAD, FILLER, GOOD, PREFLIGHT, save_tiny_model, sdp, write_project

MARKS = {"who": GOOD[0], "what": BAD[0]}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(count: int, seed: int, *, unanswered: float = 0.0, words: int = 30) -> list[dict[str, Any]]:
    """The answer is the word behind the mark that a question asks for."""
    generator, made = random.Random(seed), []
    for _ in range(count):
        context = [generator.choice(FILLER) for _ in range(generator.randint(4, words))]
        asked, mark = generator.choice(list(MARKS.items()))
        answers: dict[str, list[Any]] = {"text": [], "answer_start": []}
        if generator.random() >= unanswered:
            place = generator.randrange(len(context))
            before = " ".join([*context[:place], mark])
            answers = {"text": [context[place]], "answer_start": [len(before) + 1]}
            context.insert(place, mark)
        made.append({"question": asked, "context": " ".join(context), "answers": answers})
    return made


def write(path: Path, made: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")


SETTINGS = {
    "task.type": '"question-answering"',
    "data.train": '"train.jsonl"',
    "data.dev": '"dev.jsonl"',
    "data.text": '["question", "context"]',
    "data.label": '"answers"',
    "data.max_length": "32",
    "data.stride": "12",
    "finetune.epochs": "40",
    "finetune.learning_rate": "2e-3",
    "bench.sequence_lengths": '["task"]',
    "bench.seconds": "0.1",
    "gate.max_metric_drop": "2",
}


def options(**more: str) -> list[str]:
    settings = {**SETTINGS, **{key.replace("__", "."): value for key, value in more.items()}}
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def normal(answer: str) -> list[str]:
    """The words of an answer as SQuAD compares them; the toy answers have neither case nor punctuation."""
    return [word for word in answer.split() if word not in ("a", "an", "the")]


def f1(answer: str, right: list[str]) -> float:
    """F1 by counting, for answers of unlike words."""
    own, best = normal(answer), 0.0
    for other in [normal(text) for text in right] or [[]]:
        shared = len({*own} & {*other})
        best = max(best, float(own == other) if not own or not other else 2 * shared / (len(own) + len(other)))
    return best


def starts_and_ends_stand_apart_as_well(folder: Path) -> None:
    """optimum reads outputs of these names."""
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2])
    inputs = {"input_ids": np.where(mask, 5, 0), "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
    given = default_runtime().load(folder / "model.onnx").outputs(inputs)
    assert list(given) == ["logits", "start_logits", "end_logits"]
    for column, name in enumerate(("start_logits", "end_logits")):
        assert given[name].shape == mask.shape
        np.testing.assert_array_equal(given[name], given["logits"][..., column])


@pytest.mark.parametrize("unanswered", [0.0, 0.3], ids=["squad", "squad-v2"])
def test_from_questions_to_a_shipped_folder(unanswered: float, tmp_path: Path) -> None:
    held_out = rows(60, 2, unanswered=unanswered)
    write_project(tmp_path, save_tiny_model(tmp_path / "tiny"), '\n[[prune.losses]]\nname = "kld"\n')
    write(tmp_path / "train.jsonl", rows(400, 1, unanswered=unanswered))
    write(tmp_path / "dev.jsonl", held_out)
    checked = sdp("check", "toy.toml", *options(), cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "are read in several windows" in checked.stdout
    done = sdp("run", "toy.toml", *options(), *(PREFLIGHT if unanswered else ()), cwd=tmp_path, check=True)
    run = tmp_path / "runs" / "toy"
    assert "answer-f1 on dev" in done.stdout

    # The answers in the stored table, scored by counting.
    metrics, exported = read(run / "3-evaluate/metrics.json"), read(run / "4-export/metrics.json")
    stored = load_file(run / "3-evaluate/predictions.safetensors")
    answers: dict[str, list[str]] = {}
    for model in ("dense", "pruned"):
        spans = stored[model][:, 3:].astype(int)
        own = [row["context"][start:end] for row, (start, end) in zip(held_out, spans, strict=True)]
        scores = [f1(answer, row["answers"]["text"]) for answer, row in zip(own, held_out, strict=True)]
        exact = [answer == (row["answers"]["text"] or [""])[0] for answer, row in zip(own, held_out, strict=True)]
        assert metrics["models"][model]["value"] == pytest.approx(np.mean(scores))
        assert metrics["also"]["exact-match"]["models"][model]["value"] == pytest.approx(np.mean(exact))
        answers[model] = own
    assert metrics["models"]["dense"]["value"] > 0.6, "it learns"
    assert metrics["constant"]["answer"] == "never answering"
    without = np.mean([not row["answers"]["text"] for row in held_out])
    assert metrics["constant"]["value"] == pytest.approx(without)
    changed = [row for row, pair in enumerate(zip(*answers.values(), strict=True)) if pair[0] != pair[1]]
    with (run / "3-evaluate/flips.csv").open(encoding="utf-8", newline="") as stream:
        flips = list(csv.DictReader(stream))
    assert sorted(int(row["row"]) for row in flips) == changed
    assert exported["torch"]["max_relative_error"] < 1e-4

    # The folder of the fine-tuned model is transformers' own.
    _, loaded = AutoModelForQuestionAnswering.from_pretrained(run / "1-finetune", output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]

    starts_and_ends_stand_apart_as_well(run / "8-ship")
    assert read(run / "4-export/manifest.json").get("optional_answers", False) is bool(unanswered)
    found = sdp("predict", run, "--file", "dev.jsonl", "--json", cwd=tmp_path, check=True).stdout.splitlines()
    assert [json.loads(line)["answer"] for line in found] == answers["pruned"]
    row = held_out[0]
    line = sdp("predict", run, row["question"], row["context"], cwd=tmp_path, check=True).stdout.strip()
    assert line.split("\t")[0] == (answers["pruned"][0] or "-")
    card = (run / "8-ship" / "README.md").read_text()
    assert "pipeline_tag: question-answering" in card
    *examples_here, example_of_optimum = examples(run / "8-ship")
    for example in examples_here:
        answers_as_predict_does(run / "8-ship", example)
    assert "optimum.onnxruntime.ORTModelForQuestionAnswering" in example_of_optimum
    serves_as_predict_does(run / "8-ship")
    assert "answer-f1" in (run / "report.html").read_text()
    compared = sdp("compare", run, run, cwd=tmp_path, check=True)
    assert "answer-f1" in compared.stdout
