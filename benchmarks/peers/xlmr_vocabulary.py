"""What XLM-R-base weighs with a vocabulary of 24,000 pieces in place of 250,002, file by file.

    python benchmarks/peers/xlmr_vocabulary.py run --data FOLDER
    python benchmarks/peers/xlmr_vocabulary.py table

FOLDER holds test.LANGUAGE.tsv.gz and dev.LANGUAGE.tsv.gz of XNLI (columns sentence1, sentence2). The weights are random
at the shape of XLM-R-base, 90 % of the encoder's zero: bytes depend on shapes and zeros alone. The tokenizer is no real
one either: a Unigram vocabulary of XLM-R's kind, trained here on the test texts, as many pieces as they give, and
filled up to 250,002 with pieces that no text has. The pieces are chosen by nine tenths of the dev texts, as
`sdp vocabulary` does it, and judged by the rest: what the results say of coverage is true of this stand-in, which knows
no other texts than these, and says little of XLM-R.

Every file is read back and run: a text whose pieces are all kept must have the same logits in the trimmed model.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from tokenizers import SentencePieceUnigramTokenizer
from transformers import XLMRobertaTokenizer

from peers_inputs import INPUTS, SIZES
from peers_models import SPARSITY, pruned_model
from peers_sizes import file_sizes
from sdp.data.corpus import Corpus, split_texts
from sdp.data.files import read_columns
from sdp.models.load import load_finetuned
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import pretrained_tokenizer
from sdp.pipeline.artifacts.vocabulary import KeptPieces
from sdp.vocabulary.trim import trim_model
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.registry import default_runtime

RESULTS = Path(__file__).parents[1] / "results" / "xlmr_vocabulary.json"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
# Pattern of the zeros, and precision of the file.
VARIANTS = (("unstructured", "fp32"), ("1x4", "int8"))
# Where Unicode promises that no character will ever be.
PRIVATE = 0xF0000
COLUMNS = ("sentence1", "sentence2")
HELD_OUT = 0.1
CHECKED_TEXTS = 64

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Texts = dict[str, list[str]]
Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="The folder with XNLI's files.")],
    size: Annotated[str, typer.Option(help=f"One of {', '.join(SIZES)}.")] = "base",
    before: Annotated[int, typer.Option(help="Pieces before.")] = 250002,
    after: Annotated[int, typer.Option(help="Pieces after.")] = 24000,
    output: Output = RESULTS,
) -> None:
    """Make, trim, export and encode the models, check them, and write the JSON."""
    texts = read_texts(data, "dev")
    corpus = split_texts(texts, HELD_OUT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        trained = save_tokenizer(folder / "tokenizer", read_texts(data, "test"), before)
        variants = [
            _measure(folder, size, pattern, precision, before, after, corpus) for pattern, precision in VARIANTS
        ]
    files = {name: sizes for variant in variants for name, sizes in variant["files"].items()}
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "shape": {**SIZES[size], "vocab_size": before},
        "sparsity": SPARSITY,
        "tokenizer": {"trained_pieces": trained, "filled_up_to": before},
        "vocabulary": variants[0]["vocabulary"],
        "files": files,
        "checks": [variant["check"] for variant in variants],
        "environment": environment_record(),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_texts(folder: Path, split: str) -> Texts:
    """The sentences of a split, by language, each once."""
    texts: Texts = {}
    for path in sorted(folder.glob(f"{split}.*.tsv.gz")):
        columns = read_columns(path, COLUMNS)
        texts[path.name.split(".")[1]] = list(dict.fromkeys(text for name in COLUMNS for text in columns[name]))
    if not texts:
        raise typer.BadParameter(f"{folder} has no {split}.LANGUAGE.tsv.gz")
    return texts


def save_tokenizer(folder: Path, texts: Texts, pieces: int) -> int:
    """Train a Unigram tokenizer of XLM-R's kind, fill it up to a number of pieces, and save it.

    Returns:
        the pieces that were trained.
    """
    trained = SentencePieceUnigramTokenizer()
    lines = [text for found in texts.values() for text in found]
    # XLM-R's tokenizer adds <mask> behind the others.
    trained.train_from_iterator(
        lines, vocab_size=pieces - 1, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
    )
    vocabulary = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    lowest = min(score for _, score in vocabulary)
    filling = [(chr(PRIVATE + index // 1000) + chr(PRIVATE + index % 1000) * 2, lowest) for index in range(pieces)]
    vocabulary_filled = [*vocabulary, *filling[: pieces - 1 - len(vocabulary)]]
    XLMRobertaTokenizer(vocab=vocabulary_filled).save_pretrained(folder)
    return len(vocabulary)


def _measure(
    folder: Path, size: str, pattern: Any, precision: Any, before: int, after: int, corpus: Corpus
) -> dict[str, Any]:
    """Both models of one pattern: dense and encoded files, with what they weigh, and whether they say the same."""
    whole, small = folder / f"whole-{pattern}", folder / f"small-{pattern}"
    tokenizer = pretrained_tokenizer(folder / "tokenizer")
    tokenizer.save_pretrained(whole)
    small.mkdir()
    pruned_model(size, pattern, vocabulary=before).save_pretrained(whole)
    report = trim_model(ModelFolder(size, whole), small, corpus, after)
    pieces = {whole: before, small: report.pieces_after}
    files = {}
    encoded = {}
    for model, count in pieces.items():
        dense, encoded[model] = folder / "dense.onnx", folder / f"{model.name}.onnx"
        export_torch(load_finetuned(model), dense, input_names=INPUTS)
        encode_model(dense, encoded[model], encoding="kernel", precision=precision, metadata={})
        if precision == "fp32":
            files[f"dense fp32, {count:,} pieces"] = _sizes(dense, model, count)
        files[f"{SPARSITY:.0%} {pattern}, {precision}, {count:,} pieces"] = _sizes(encoded[model], model, count)
        dense.unlink()
        print(f"{model.name} is measured", file=sys.stderr, flush=True)
    check = _check(whole, small, encoded, corpus)
    return {
        "vocabulary": report.to_json(),
        "files": files,
        "check": {"pattern": pattern, "precision": precision, **check},
    }


def _sizes(path: Path, model: Path, pieces: int) -> dict[str, int]:
    """Bytes of an ONNX file, of its table of pieces, of the rest, and of the tokenizer that goes with it."""
    sizes = file_sizes(path, pieces)
    return {
        "file_bytes": sizes["file_bytes"],
        "table_bytes": sizes["file_bytes"] - sizes["encoder_bytes"],
        "rest_bytes": sizes["encoder_bytes"],
        "tokenizer_bytes": (model / "tokenizer.json").stat().st_size,
    }


def _check(whole: Path, small: Path, encoded: dict[Path, Path], corpus: Corpus) -> dict[str, Any]:
    """Largest difference of logits between the two files on held-out texts whose pieces are all kept."""
    kept = set(json.loads((small / KeptPieces.FILE).read_text(encoding="utf-8"))["old_ids"])
    tokenizers = {model: pretrained_tokenizer(model) for model in (whole, small)}
    texts = [text for found in corpus.held_out.values() for text in found]
    same = [text for text in texts if set(tokenizers[whole](text)["input_ids"]) <= kept]
    chosen = same[:: max(1, len(same) // CHECKED_TEXTS)]
    rows = {model: [tokenizers[model](text)["input_ids"] for text in chosen] for model in encoded}
    logits = {model: _logits(path, rows[model]) for model, path in encoded.items()}
    largest = np.abs(logits[whole]).max()
    return {
        "texts": len(chosen),
        "max_relative_difference": float(np.abs(logits[whole] - logits[small]).max() / largest),
    }


def _logits(path: Path, rows: Sequence[list[int]]) -> NDArray[np.float32]:
    model = default_runtime().load(path)
    answers = []
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        answers.append(model.run(dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True))))
    return np.concatenate(answers)


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print the files as Markdown."""
    content = json.loads(output.read_text(encoding="utf-8"))
    keys = ("file_bytes", "table_bytes", "rest_bytes", "tokenizer_bytes")
    print("| MB | file | embeddings | the rest | tokenizer |\n|---|---|---|---|---|")
    for name, sizes in content["files"].items():
        print(f"| {name} | {' | '.join(f'{sizes[key] / 1e6:.1f}' for key in keys)} |")


if __name__ == "__main__":
    app()
