"""Small but real models, tokenizers, data files and recipes, and the command line to run on them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.in_process import run_in_process

GOOD = ["good", "fine", "great", "lovely", "superb"]
BAD = ["bad", "poor", "awful", "dull", "weak"]
FILLER = ["the", "film", "was", "a", "very", "story", "and", "plot", "actor", "scene", "with", "some", "music"]


def toy_rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences with one word of praise or blame among fillers, and their label."""
    generator = random.Random(seed)
    rows = []
    for index in range(count):
        label, words = (("pos", GOOD), ("neg", BAD))[index % 2]
        text = [generator.choice(FILLER) for _ in range(generator.randint(3, 12))]
        text.insert(generator.randint(0, len(text)), generator.choice(words))
        rows.append((" ".join(text), label))
    return rows


def write_tsv(path: Path, rows: list[tuple[str, str]]) -> Path:
    """A file of sentence and label, with a header."""
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def save_tiny_model(
    folder: Path, kind: str = "bert", seed: int = 0, more_rows: int = 0, *, width: int = 32, layers: int = 2
) -> Path:
    """A transformers folder: a tiny encoder with random weights, and a tokenizer that knows the toy words.

    It has a row of embeddings for each piece, and `more_rows` beside them for the pieces of another tokenizer.
    """
    import torch
    from transformers import (
        BertConfig,
        BertModel,
        BertTokenizerFast,
        DistilBertConfig,
        DistilBertModel,
        XLMRobertaConfig,
        XLMRobertaModel,
    )

    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = folder / "vocab.txt"
    words = [*special, *GOOD, *BAD, *FILLER, *"abcdefghijklmnopqrstuvwxyz0123456789"]
    # "a" is a word and a letter: twice in the file, and the last line would have an id beyond the embeddings.
    vocabulary.write_text("\n".join(dict.fromkeys(words)))
    tokenizer = BertTokenizerFast(str(vocabulary))
    torch.manual_seed(seed)
    sizes = {"vocab_size": len(tokenizer) + more_rows, "max_position_embeddings": 64}
    if kind == "distilbert":
        model = DistilBertModel(DistilBertConfig(dim=width, hidden_dim=64, n_layers=layers, n_heads=2, **sizes))
    else:
        config_class, model_class = {"bert": (BertConfig, BertModel), "xlmr": (XLMRobertaConfig, XLMRobertaModel)}[kind]
        config = config_class(
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=2,
            pad_token_id=0,
            **sizes,
        )
        model = model_class(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tuned_model(
    folder: Path, names: Sequence[str] = ("pos", "neg"), steps: int = 60, *, kind: str = "bert", **sizes: int
) -> Path:
    """A tiny model fine-tuned on the toy rows by plain transformers, its classes in the order of `names`.

    The first name is that of the class "pos", the second that of "neg". The kind "xlmr" has XLM-R's tokenizer.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    save_tiny_model(folder, kind, more_rows=2 if kind == "xlmr" else 0, **sizes)
    if kind == "xlmr":
        for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink(missing_ok=True)
        save_xlmr_tokenizer(folder)
    torch.manual_seed(0)
    head = {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    model = AutoModelForSequenceClassification.from_pretrained(folder, **head)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = toy_rows(160, seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = [rows[(16 * step + place) % len(rows)] for place in range(16)]
        inputs = tokenizer([text for text, _ in batch], padding=True, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([("pos", "neg").index(label) for _, label in batch])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


# Tiny models gain nothing from a second thread, and two tests at once would fight for the cores.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

RECIPE = """
name = "toy"
# It costs as much as all stages of so small a model; where a test says so, it runs.
runtime.preflight = false

[model]
name = "model"

[task]
type = "classification"

[data]
train = "train.tsv"
dev = "dev.tsv"
text = ["sentence"]
label = "label"
max_length = 32

[finetune]
epochs = 10
learning_rate = 3e-3
batch_size = 16
precision = "fp32"    # the same numbers on every CPU

[prune]
epochs = 4
learning_rate = 3e-3
batch_size = 16
precision = "fp32"
sparsity = 0.8
mask_updates = 5
# With labels, as most tests want it: they learn something in so few steps.
labels = true
dropout = true
criterion = "magnitude"
scope = "layer"
warmup = 0.1
decay = 1
betas = [0.9, 0.999]
weight_decay = 0.01

[evaluate]
resamples = 200

[bench]
sequence_lengths = ["task", 16]
threads = 1
seconds = 0.2
starts = 1

[gate]
max_metric_drop = 0.9
max_size_ratio = 1.0
budget_seconds = 0
"""

PREFLIGHT = ("--set", "runtime.preflight=true")


def write_project(folder: Path, model: Path, extra: str = "") -> Path:
    """A folder with a recipe, data files and a link to a model; returns the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        (folder / "model").symlink_to(model)
    write_tsv(folder / "train.tsv", toy_rows(160, seed=1))
    write_tsv(folder / "dev.tsv", toy_rows(60, seed=2))
    recipe = folder / "toy.toml"
    recipe.write_text(RECIPE + extra)
    return recipe


def finetuned_copy(finished: Path, folder: Path) -> Path:
    """A copy of a finished project, fine-tuned and not pruned."""
    shutil.copytree(finished, folder, symlinks=True)
    for stage in folder.glob("runs/toy/[2-7]-*"):
        shutil.rmtree(stage)
    return folder


def sdp(
    *arguments: str | Path, cwd: Path, check: bool = False, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the real command line in this process, with some variables more in its environment."""
    return _checked(run_in_process([str(argument) for argument in arguments], cwd, env or {}), check)


def sdp_process(
    *arguments: str | Path,
    cwd: Path,
    check: bool = False,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run the real command line in a process of its own, with some variables more in its environment."""
    command = [sys.executable, "-m", "sdp", *map(str, arguments)]
    variables = {**ONE_THREAD, **(env or {})}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=timeout, check=False)
    return _checked(done, check)


def _checked(done: subprocess.CompletedProcess[str], check: bool) -> subprocess.CompletedProcess[str]:
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(done.args)} -> {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def save_xlmr_tokenizer(folder: Path) -> None:
    """XLM-R's kind of tokenizer (Unigram with metaspace) over the toy words and single letters."""
    from transformers import XLMRobertaTokenizer

    pieces = [*(f"▁{word}" for word in [*GOOD, *BAD, *FILLER]), "▁", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = [*((name, 0.0) for name in special), *((piece, -1.0 - 0.01 * i) for i, piece in enumerate(pieces))]
    XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(folder)
