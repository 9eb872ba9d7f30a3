"""The pipeline at the full size of XLM-R-base: random weights of the real configuration, a tokenizer trained here.

Needs about 10 GB of memory, 10 GB of disk and some minutes: pytest -m slow tests/sdp/test_xlmr_size.py -s
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# The published configuration of FacebookAI/xlm-roberta-base.
XLMR_BASE = {
    "vocab_size": 250002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
WORDS = {
    "en": [
        "the",
        "report",
        "was",
        "written",
        "before",
        "the",
        "meeting",
        "and",
        "nobody",
        "had",
        "read",
        "it",
        "until",
        "this",
        "morning",
    ],
    "de": [
        "der",
        "Bericht",
        "wurde",
        "vor",
        "der",
        "Sitzung",
        "geschrieben",
        "und",
        "niemand",
        "hatte",
        "ihn",
        "bis",
        "heute",
        "gelesen",
    ],
    "el": [
        "η",
        "έκθεση",
        "γράφτηκε",
        "πριν",
        "από",
        "τη",
        "συνάντηση",
        "και",
        "κανείς",
        "δεν",
        "την",
        "είχε",
        "διαβάσει",
    ],
}

RECIPE = """
name = "xlmr-size"
[model]
name = "model"
[task]
type = "classification"
[data]
train = "train.tsv"
dev = "dev.tsv"
text = ["sentence1", "sentence2"]
label = "label"
max_length = 128
[finetune]
epochs = 1
batch_size = 2
[prune]
epochs = 1
batch_size = 2
sparsity = 0.9
[evaluate]
batch_size = 8
resamples = 100
[bench]
sequence_lengths = ["task", 32, 128]
seconds = 20
[gate]
# Twelve rows teach it nothing: what is measured is time and memory.
allow_constant_dense = true
[runtime]
checkpoint_seconds = 3600
"""


def rows(count: int, seed: int) -> list[tuple[str, str, str]]:
    generator = random.Random(seed)

    def sentence(language: str) -> str:
        return " ".join(generator.choices(WORDS[language], k=generator.randint(3, 30)))

    languages = [generator.choice(list(WORDS)) for _ in range(count)]
    return [(sentence(language), sentence(language), language) for language in languages]


def save_model(folder: Path) -> None:
    import torch
    from tokenizers import SentencePieceUnigramTokenizer
    from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizer

    trained = SentencePieceUnigramTokenizer()
    text = [part for first, second, _ in rows(500, seed=0) for part in (first, second)]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(text, vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    vocabulary = [tuple(piece) for piece in json.loads(trained.to_str())["model"]["vocab"]]
    XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(folder)
    torch.manual_seed(0)
    XLMRobertaModel(XLMRobertaConfig(**XLMR_BASE)).save_pretrained(folder)


def test_the_pipeline_runs_at_the_size_of_xlmr_base(tmp_path: Path) -> None:
    # In a process of its own: this one would hold the model's gigabyte.
    folder = str(Path(__file__).parent)
    make = f"import sys; sys.path.insert(0, {folder!r}); from pathlib import Path; import test_xlmr_size as t; "
    subprocess.run([sys.executable, "-c", f"{make}t.save_model(Path('model'))"], cwd=tmp_path, check=True)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    for name, count in (("train", 12), ("dev", 16)):
        lines = ["\t".join(row) for row in rows(count, seed=count)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["sentence1\tsentence2\tlabel", *lines]) + "\n")

    peaks = {}
    for stage in ("prune", "evaluate", "export", "bench", "run"):
        started = time.monotonic()
        command = [sys.executable, "-m", "sdp", stage, "recipe.toml"]
        process = subprocess.Popen(command, cwd=tmp_path)
        _, status, usage = os.wait4(process.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, stage
        peaks[stage] = usage.ru_maxrss / 1e6
        print(f"{stage}: {time.monotonic() - started:.0f} s, peak memory of one process {peaks[stage]:.2f} GB")

    run = tmp_path / "runs" / "xlmr-size"
    sizes = json.loads((run / "5-bench" / "latency.json").read_text())
    model_bytes = (run / "2-prune" / "model.safetensors").stat().st_size
    print(f"dense {sizes['baseline_bytes'] / 1e6:.0f} MB, exported {sizes['candidate_bytes'] / 1e6:.0f} MB")
    assert model_bytes > 1.1e9
    # 192 M embedding parameters stay dense; of a tenth of the encoder's 85 M linear weights the operators hold 4 bytes
    # of value each, and where it is.
    sparse_bytes = sizes["candidate_bytes"] - 192.4e6 * 4
    assert 4 < sparse_bytes / (85e6 * 0.1) < 6
    metrics = json.loads((run / "4-export" / "metrics.json").read_text())
    assert metrics["torch"]["max_relative_error"] <= 1e-4
