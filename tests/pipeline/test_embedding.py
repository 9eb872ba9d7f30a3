"""A sentence encoder from plain texts to a shipped folder, through the real command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.numpy import load_file
from scipy.stats import spearmanr
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from sdp.models.pooling import Pooling, choose_pooling
from sdp.recipe.load import load_recipe
from sdp_onnx.runtimes.registry import default_runtime
from support.card import answers_as_predict_does, examples, serves_as_predict_does
from support.toy import BAD, GOOD, PREFLIGHT, save_tiny_model, sdp, toy_rows, write_project

MODULES = ("Transformer", "Pooling", "Normalize")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def sentence_model(folder: Path, kind: str = "mean", modules: tuple[str, ...] = MODULES) -> Path:
    """A tiny encoder in the form of sentence-transformers."""
    save_tiny_model(folder)
    paths = [f"{place}_{name}" if place else "" for place, name in enumerate(modules)]
    entries = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{name}"}
        for place, (name, path) in enumerate(zip(modules, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{own}": own.startswith(kind) for own in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    return folder


def pairs(count: int, seed: int) -> list[tuple[str, str, float]]:
    """Two sentences, and how many words they share."""
    first, second = (toy_rows(count, seed + place) for place in range(2))
    return [(a, b, float(len({*a.split()} & {*b.split()}))) for (a, _), (b, _) in zip(first, second, strict=True)]


def project(folder: Path, model: Path) -> Path:
    """Texts to learn from without labels, and pairs with scores."""
    write_project(folder, model)
    lines = "".join(f"{a}\t{b}\n" for a, b, _ in pairs(100, 1))
    (folder / "texts.tsv").write_text(f"first\tsecond\n{lines}")
    for name, seed in (("dev", 5), ("test", 7)):
        lines = "".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs(50, seed))
        (folder / f"{name}.tsv").write_text(f"first\tsecond\tscore\n{lines}")
    return folder


SETTINGS = {
    "task.type": '"embedding"',
    "data.train": '"texts.tsv"',
    "data.dev": '"dev.tsv"',
    "data.test": '"test.tsv"',
    "data.text": '["first", "second"]',
    "data.label": '"score"',
    "prune.labels": "false",
    "gate.max_metric_drop": "2",
    "bench.sequence_lengths": '["task"]',
}


def options(**more: str) -> list[str]:
    settings = {**SETTINGS, **{key.replace("__", "."): value for key, value in more.items()}}
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def recipe_without_finetuning(folder: Path) -> None:
    """An encoder is not fine-tuned, and the toy recipe has losses for classifiers."""
    recipe = folder / "toy.toml"
    text = recipe.read_text()
    start, end = text.index("[finetune]"), text.index("[prune]")
    recipe.write_text(f"{text[:start]}[finetune]\nepochs = 0\n\n{text[end:]}")


@pytest.mark.parametrize("kind", ["mean", "cls"])
def test_from_texts_to_a_shipped_folder(kind: str, tmp_path: Path) -> None:
    project(tmp_path, sentence_model(tmp_path / "encoder", kind))
    recipe_without_finetuning(tmp_path)
    checked = sdp("check", "toy.toml", *options(), cwd=tmp_path, check=True)
    assert f"vectors: the {kind} of the last layer's tokens, scaled to length 1" in checked.stdout
    done = sdp("run", "toy.toml", *options(), *(PREFLIGHT if kind == "mean" else ()), cwd=tmp_path, check=True)
    assert "spearman on test" in done.stdout

    # The dense vectors, by transformers alone.
    encoder, tokenizer = (
        AutoModel.from_pretrained(tmp_path / "encoder"),
        AutoTokenizer.from_pretrained(tmp_path / "encoder"),
    )
    held_out = pairs(50, 7)

    def vectors(texts: list[str]) -> torch.Tensor:
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            hidden = encoder(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None]
        own = hidden[:, 0] if kind == "cls" else (hidden * mask).sum(1) / mask.sum(1)
        return functional.normalize(own, dim=1)

    expected = (vectors([a for a, _, _ in held_out]) * vectors([b for _, b, _ in held_out])).sum(1).numpy()
    run = tmp_path / "runs" / "toy"
    stored = load_file(run / "3-evaluate/predictions.safetensors")
    np.testing.assert_allclose(stored["dense"][:, 0], expected, atol=1e-5)
    metrics = read(run / "3-evaluate/metrics.json")
    truth = [score for _, _, score in held_out]
    for model in ("dense", "pruned"):
        value = spearmanr(truth, stored[model][:, 0]).statistic
        assert metrics["models"][model]["value"] == pytest.approx(value)
    assert read(run / "4-export/metrics.json")["torch"]["max_relative_error"] < 1e-4
    assert not any("labels" in line for line in (run / "2-prune/pruning.jsonl").read_text().splitlines())

    # What is shipped gives the vectors of one text.
    outputs = [value.name for value in onnx.load(run / "4-export/model.onnx").graph.output]
    assert outputs == ["sentence_embedding", "last_hidden_state"]
    text = held_out[0][0]
    answer = json.loads(sdp("predict", run, text, "--json", cwd=tmp_path, check=True).stdout)
    assert answer["label"] is None
    assert len(answer["vector"]) == 32
    assert np.linalg.norm(answer["vector"]) == pytest.approx(1, abs=1e-5)
    line = sdp("predict", run, text, cwd=tmp_path, check=True).stdout.split()
    np.testing.assert_allclose(np.array(line, float), answer["vector"], atol=1e-6)
    card = (run / "8-ship/README.md").read_text()
    assert "pipeline_tag: sentence-similarity" in card
    *examples_here, example_of_another_package = examples(run / "8-ship")
    for example in examples_here:
        answers_as_predict_does(run / "8-ship", example)
    assert 'SentenceTransformer(".", backend="onnx"' in example_of_another_package
    serves_as_predict_does(run / "8-ship")
    assert sdp("verify", run / "8-ship", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_pooling_of_the_exported_tokens_leaves_the_vectors_as_they_are(precision: str, tmp_path: Path) -> None:
    """The ONNX backend of sentence-transformers reads `last_hidden_state`, and pools as the folder says."""
    encoder = sentence_model(tmp_path / "encoder")
    settings = {"prompts": {"query": "good: ", "document": ""}, "default_prompt_name": "query"}
    settings_file = "config_sentence_transformers.json"
    others = {"__version__": {"sentence_transformers": "3.0"}, "similarity_fn_name": None}
    (encoder / settings_file).write_text(json.dumps({**settings, **others}))
    project(tmp_path, encoder)
    recipe_without_finetuning(tmp_path)
    more = {"export__precision": f'"{precision}"', "data__max_length": "24"}
    checked = sdp("check", "toy.toml", *options(**more), cwd=tmp_path, check=True)
    assert 'without its default prompt "good: "' in " ".join(checked.stdout.split())
    sdp("export", "toy.toml", *options(**more), *PREFLIGHT, cwd=tmp_path, check=True)
    folder = tmp_path / "runs/toy/4-export"
    names = ("input_ids", "attention_mask", "token_type_ids")
    mask = np.array([[1] * 7, [1] * 3 + [0] * 4])
    inputs = dict(zip(names, (np.where(mask, 5, 0), mask, np.zeros_like(mask)), strict=True))
    given = default_runtime().load(folder / "model.onnx").outputs(inputs)
    assert given["last_hidden_state"].shape == (2, 1, 32)
    np.testing.assert_array_equal(given["last_hidden_state"][:, 0], given["sentence_embedding"])
    declared = onnx.load(folder / "model.onnx").graph.output[1].type.tensor_type
    assert [dim.dim_param or dim.dim_value for dim in declared.shape.dim] == ["batch", 1, 32]

    modules = {entry["type"].rpartition(".")[2]: entry["path"] for entry in read(folder / "modules.json")}
    assert modules == {"Transformer": "", "Pooling": "1_Pooling"}
    assert read(folder / settings_file) == settings
    assert choose_pooling(load_recipe(tmp_path / "toy.toml"), folder) == Pooling("cls", False, settings)
    assert read(folder / "1_Pooling/config.json")["word_embedding_dimension"] == 32
    assert read(folder / "sentence_bert_config.json")["max_seq_length"] == 24


def test_the_plan_counts_the_texts_that_training_reads(tmp_path: Path) -> None:
    project(tmp_path, sentence_model(tmp_path / "encoder"))
    recipe_without_finetuning(tmp_path)
    short = options(data__max_length="8")
    checked = sdp("check", "toy.toml", *short, "--json", cwd=tmp_path, check=True).stdout
    plan = json.loads(checked)
    sdp("prune", "toy.toml", *short, *PREFLIGHT, cwd=tmp_path, check=True)
    last = json.loads((tmp_path / "runs/toy/2-prune/pruning.jsonl").read_text().splitlines()[-1])
    of_an_epoch = math.ceil(2 * 100 / 16)
    assert last["step"] / last["epoch"] == pytest.approx(of_an_epoch)
    assert plan["optimizer_steps"]["prune"] == 4 * of_an_epoch

    # Each text by itself is compared with the limit.
    lengths = [1 + len(text.split()) + 1 for pair in pairs(100, 1) for text in pair[:2]]
    assert f"the longest of 200 sampled has {max(lengths)}" in checked


def test_it_learns_what_the_dense_encoder_computes(tmp_path: Path) -> None:
    """With text in other files, in int8, and with heads and neurons removed."""
    project(tmp_path, sentence_model(tmp_path / "encoder"))
    recipe_without_finetuning(tmp_path)
    (tmp_path / "more.txt").write_text("".join(f"{word} film\n" for word in (*GOOD, *BAD)))
    structured = {
        "prune__pattern": '"structured"',
        "prune__sparsity": "0.4",
        "data__unlabeled": '["more.txt"]',
        "prune__criterion": '"momentum"',
        "prune__scope": '"global"',
    }
    done = sdp("export", "toy.toml", *options(**structured), *PREFLIGHT, cwd=tmp_path, check=True)
    assert "10 rows without labels" in done.stderr
    run = tmp_path / "runs/toy"
    stored = load_file(run / "3-evaluate/predictions.safetensors")
    assert spearmanr(stored["dense"][:, 0], stored["pruned"][:, 0]).statistic > 0.8
    # The first pruning's network, further.
    sdp("evaluate", "toy.toml", *options(prune__sparsity="0.5", prune__pattern='"1x4"'), cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"finetune__epochs": "2"}, "an embedding is taken as it is"),
        ({"prune__labels": "true"}, "an embedding learns from its unpruned self"),
        ({"prune__losses": '[{name="kld"}]'}, "an embedding has no classifier"),
        ({"task__metric": '"accuracy"'}, "does not fit a embedding task"),
    ],
)
def test_what_embeddings_have_not_cannot_be_set(settings: dict[str, str], words: str, tmp_path: Path) -> None:
    project(tmp_path, sentence_model(tmp_path / "encoder"))
    recipe_without_finetuning(tmp_path)
    done = sdp("check", "toy.toml", *options(**settings), cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_pooling_that_is_not_known_is_refused_and_can_be_named(tmp_path: Path) -> None:
    project(tmp_path, sentence_model(tmp_path / "encoder", modules=("Transformer", "Pooling", "Dense")))
    recipe_without_finetuning(tmp_path)
    refused = sdp("check", "toy.toml", *options(), cwd=tmp_path)
    assert refused.returncode == 2
    assert "it has a module Dense" in refused.stderr
    assert 'Set task.pooling to "mean" or "cls"' in refused.stderr
    sdp("check", "toy.toml", *options(task__pooling='"mean"'), cwd=tmp_path, check=True)
    (tmp_path / "encoder/modules.json").unlink()
    refused = sdp("check", "toy.toml", *options(), cwd=tmp_path)
    assert "how to pool is not known" in refused.stderr


def test_the_vocabulary_can_be_trimmed(tmp_path: Path) -> None:
    project(tmp_path, sentence_model(tmp_path / "encoder"))
    recipe_without_finetuning(tmp_path)
    # Some words of the texts are not among the pieces that are kept.
    (tmp_path / "corpus.txt").write_text("".join(f"a film and the music {n}\n" for n in range(300)))
    with (tmp_path / "test.tsv").open("a") as rows:
        rows.write("the film\tthe music\t1.0\n" * 10)
    with (tmp_path / "toy.toml").open("a") as recipe:
        recipe.write('\n[vocabulary]\nsize = 45\ncorpus = ["corpus.txt"]\n')
    sdp("evaluate", "toy.toml", *options(), cwd=tmp_path, check=True)
    cost = read(tmp_path / "runs/toy/3-evaluate/metrics.json")["vocabulary"]
    assert (cost["changed_rows"], cost["rows"]) == (50, 60)
    assert cost["models"]["full"]["value"] != cost["models"]["trimmed"]["value"]
