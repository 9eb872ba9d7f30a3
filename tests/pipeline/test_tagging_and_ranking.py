"""Tagging and ranking through the whole pipeline, on tiny models of both kinds, through the real command line."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from seqeval.metrics import f1_score
from sklearn.metrics import ndcg_score

from support.card import answers_as_predict_does, examples, serves_as_predict_does
from support.toy import BAD, FILLER, GOOD, PREFLIGHT, save_tiny_model, save_xlmr_tokenizer, sdp, write_project

EXTRA = """
[[prune.losses]]
name = "cross-correlation"
representation = "tokens"

[[prune.losses]]
name = "kld"
"""


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def sentence(generator: random.Random) -> dict[str, list[str]]:
    """Fillers, with praise and blame as entities of one or two words."""
    words, tags = [], []
    for _ in range(generator.randint(2, 6)):
        words.append(generator.choice(FILLER))
        tags.append("O")
        if generator.random() < 0.5:
            kind, known = generator.choice((("GOOD", GOOD), ("BAD", BAD)))
            words += [generator.choice(known) for _ in range(generator.randint(1, 2))]
            tags += [f"{'BI'[i > 0]}-{kind}" for i in range(len(words) - len(tags))]
    return {"words": words, "tags": tags}


def project(folder: Path, kind: str, data: dict[str, str], extra: str = "") -> list[str]:
    """A project on a tiny model; returns the overrides that its commands need."""
    model = save_tiny_model(folder / "tiny", kind)
    if kind == "xlmr":
        for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
            (model / name).unlink(missing_ok=True)
        save_xlmr_tokenizer(model)
    write_project(folder, model, extra)
    data = {"bench.sequence_lengths": '["task"]', "bench.seconds": "0.1", **data}
    return [part for key, value in data.items() for part in ("--set", f"{key}={value}")]


def flips_of_words(run: Path, rows: list[dict[str, list[str]]]) -> int:
    """The number of lines in a tagger's flips.csv, the first of them held against the sentences."""
    with (run / "3-evaluate/flips.csv").open(encoding="utf-8", newline="") as stream:
        flips = list(csv.DictReader(stream))
    sentence_of_first, place = rows[int(flips[0]["row"])], int(flips[0]["word"])
    assert sentence_of_first["words"][place] == flips[0]["text_word"]
    assert sentence_of_first["tags"][place] == flips[0]["label"]
    return len(flips)


def check_card(run: Path) -> None:
    """A tagger's model card, by language, whose example is run."""
    answers_as_predict_does(run / "8-ship", examples(run / "8-ship")[0])
    serves_as_predict_does(run / "8-ship")
    card = (run / "8-ship" / "README.md").read_text()
    assert "pipeline_tag: token-classification" in card
    assert "\nlanguage:\n- en\n- de\n" in card
    german = read(run / "4-export/metrics.json")["parts"]["de"]
    assert f"| de | {german['rows']} | {german['models']['dense']['value']:.3f} |" in card


# Recipes of taggers with XLM-R's tokenizer run in sdp/recipe/test_benchmark_recipes.py.
@pytest.mark.parametrize("kind", ["bert", pytest.param("xlmr", marks=pytest.mark.slow)])
def test_tagging(kind: str, tmp_path: Path) -> None:
    for name, count, seed in (("train", 160, 1), ("dev.en", 20, 2), ("dev.de", 20, 3)):
        generator = random.Random(seed)
        rows = [sentence(generator) for _ in range(count)]
        if name == "dev.de":
            # Longer than data.max_length: its last words are never read.
            rows.append({"words": ["film"] * 40 + ["good"], "tags": ["O"] * 40 + ["B-GOOD"]})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = project(
        tmp_path,
        kind,
        {
            "task.type": '"tagging"',
            "data.train": '"train.jsonl"',
            "data.dev": '"dev.{language}.jsonl"',
            "task.eval_languages": '["en", "de"]',
            "data.text": '["words"]',
            "data.label": '"tags"',
            "data.max_length": "32",
        },
        EXTRA,
    )
    # Preflight and benchmark take seconds, and one of each is enough.
    command = ("run", *PREFLIGHT) if kind == "bert" else ("export",)
    done = sdp(*command, "toy.toml", *options, cwd=tmp_path, check=True)
    run = tmp_path / "runs" / "toy"
    if kind == "bert":
        check_card(run)
    assert "entity-f1 on dev" in done.stdout
    assert "average, zero-shot" in done.stdout
    assert "words that no model saw (data.max_length): 11" in done.stdout
    exported = read(run / "4-export/metrics.json")
    assert exported["torch"]["max_relative_error"] < 1e-4
    assert exported["torch"]["split_relative_error"] < 1e-4
    assert exported["unread_words"] == 11
    assert read(run / "1-finetune/metrics.json")["dev"] > 0.3, "it learns"
    config = read(run / "4-export/config.json")
    tags = [config["id2label"][str(i)] for i in range(5)]
    assert tags == ["B-BAD", "B-GOOD", "I-BAD", "I-GOOD", "O"]

    # The score, from the stored logits, by seqeval.
    files = {part: (tmp_path / f"dev.{part}.jsonl").read_text().splitlines() for part in ("en", "de")}
    rows = [json.loads(line) for lines in files.values() for line in lines]
    logits = load_file(run / "3-evaluate/predictions.safetensors")
    metrics = read(run / "3-evaluate/metrics.json")
    for model in ("dense", "pruned"):
        unread = np.isnan(logits[model]).any(axis=1)
        assert unread.sum() == 11
        flat = ["O" if nothing else tags[i] for nothing, i in zip(unread, logits[model].argmax(1), strict=True)]
        ends = np.cumsum([len(row["words"]) for row in rows])
        output = [flat[end - len(row["words"]) : end] for row, end in zip(rows, ends, strict=True)]
        truth, cut = [row["tags"] for row in rows], len(files["en"])
        scores = [f1_score(truth[:cut], output[:cut]), f1_score(truth[cut:], output[cut:])]
        assert [metrics["parts"][part]["models"][model]["value"] for part in ("en", "de")] == pytest.approx(scores)
        assert metrics["models"][model]["value"] == pytest.approx(np.mean(scores))
        assert metrics["averages"]["zero-shot"]["models"][model]["value"] == pytest.approx(scores[1])
    # Choices are made on the language that was trained on.
    pruned = metrics["parts"]["en"]["models"]["pruned"]["value"]
    assert read(run / "2-prune/metrics.json")["dev"] == pytest.approx(pruned)

    changed = f"; {flips_of_words(run, rows)} of {len(flat)} predictions changed"
    assert changed in done.stdout
    if kind == "bert":
        page = (run / "report.html").read_text()
        for words in (changed, "beyond 32 tokens", "average, zero-shot", "mean over 2 languages", "trained on\n(en)"):
            assert words in page

    answer = sdp("predict", run, "the film was good", cwd=tmp_path, check=True).stdout.splitlines()
    assert [line.split("\t")[0] for line in answer] == ["the", "film", "was", "good"]
    assert all(line.split("\t")[1] in tags for line in answer)
    spoken = json.loads(sdp("predict", run / "4-export", "a " * 40, "--json", cwd=tmp_path, check=True).stdout)
    assert [bool(word.get("label")) for word in spoken] == [True] * 30 + [False] * 10


# Preflight costs as much as all else, and goes through tagging and regression by default.
@pytest.mark.parametrize("preflight", [(), pytest.param(PREFLIGHT, marks=pytest.mark.slow)], ids=["plain", "preflight"])
def test_ranking(preflight: tuple[str, ...], tmp_path: Path) -> None:
    grades = {"query": [], "title": [], "snippet": [], "grade": []}
    generator = random.Random(3)
    for query in range(60):
        for _ in range(generator.randint(1, 5)):
            good = generator.randint(0, 3)
            words = [generator.choice(GOOD) for _ in range(good)] + [generator.choice(FILLER) for _ in range(4 - good)]
            row = (f"film {FILLER[query % 10]} {query}", words[0], " ".join(words[1:]), good)
            for column, value in zip(grades.values(), row, strict=True):
                column.append(value)
    lines = ["\t".join(grades), *("\t".join(map(str, row)) for row in zip(*grades.values(), strict=True))]
    options = project(
        tmp_path,
        "bert",
        {
            "task.type": '"ranking"',
            "data.text": '["query", "title", "snippet"]',
            "data.label": '"grade"',
            "data.group": '"query"',
        },
        EXTRA,
    )
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    done = sdp("export", "toy.toml", *options, *preflight, cwd=tmp_path, check=True)
    run = tmp_path / "runs" / "toy"
    assert "ndcg on dev" in done.stdout
    metrics, exported = read(run / "3-evaluate/metrics.json"), read(run / "4-export/metrics.json")
    assert metrics["test"]["name"] == "paired bootstrap"
    assert metrics["flips"] is None
    assert exported["torch"]["same_predictions"] is None
    assert exported["torch"]["max_relative_error"] < 1e-4
    scores = load_file(run / "3-evaluate/predictions.safetensors")["dense"][:, 0]
    queries, relevance = np.array(grades["query"]), np.array(grades["grade"])
    values = []
    for query in sorted(set(grades["query"])):
        own = relevance[queries == query]
        if len(set(own.tolist())) > 1:
            values.append(ndcg_score([own], [scores[queries == query]]))
    assert metrics["models"]["dense"]["value"] == pytest.approx(np.mean(values))
    assert np.mean(values) > 0.9, "it learns"
    answer = sdp("predict", run, "film", "good", "great fine story", cwd=tmp_path, check=True).stdout
    float(answer)
    refused = sdp("predict", run, "film", "good", cwd=tmp_path)
    assert refused.returncode == 2
    assert "takes 3 texts, not 2" in refused.stderr
