"""What a pruned sentence encoder finds: the docstrings of installed packages, by their first sentences.

    python benchmarks/studies/retrieval.py run RUN [--rows 2000] [--out results/retrieval/NAME.json]
    python benchmarks/studies/retrieval.py table
    python benchmarks/studies/retrieval.py texts FILE [--rows 2000]

RUN is a run folder of `task.type = "embedding"` with a finished export. A query is the first sentence of a docstring,
and the passage to find among all others is what follows it. Both models encode the same texts: the dense one in torch,
and the exported file in onnxruntime. nDCG and recall are of the first ten passages; one of all is right. `texts` writes
the queries and passages of all other docstrings, one a line, for `data.unlabeled`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from sdp.cli.commands.selection import select
from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.docstrings import docstrings_of, first_sentence, normalized, package_folder
from sdp.evaluation.predict import predict_logits
from sdp.evaluation.torch_network import torch_network
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.stages import EXPORT, FINETUNE
from sdp.statistics.intervals import bootstrap_interval
from sdp_onnx.deploy.predictor import Predictor
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "retrieval"
PACKAGES = ("numpy", "pandas", "scipy", "sklearn", "torch", "transformers")
FIRST = 10
# Words of a query, and of a passage; longer passages are cut.
QUERY_WORDS, PASSAGE_WORDS = (4, 40), (15, 80)
RESAMPLES = 2000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Vectors = NDArray[np.float32]


@app.command()
def run(
    folder: Annotated[Path, typer.Argument(help="The run folder.")],
    name: Annotated[str, typer.Option(help="Of the result.")],
    rows: Annotated[int, typer.Option(min=FIRST, help="Number of queries, and of passages.")] = 2000,
    results: Annotated[Path, typer.Option(help="The folder of the JSON files.")] = RESULTS,
) -> None:
    """Encode queries and passages with both models, and write the JSON."""
    chosen = select(folder.absolute(), None, None, folder.absolute().parent)
    pairs = docstring_pairs(PACKAGES)[:rows]
    texts = [text for pair in pairs for text in pair]
    source = chosen.run.stage(FINETUNE.folder)
    tokenizer = saved_tokenizer(source)
    split = TokenizedSplit(
        tokenize([(text,) for text in texts], tokenizer, chosen.recipe.data.max_length),
        np.zeros(len(texts), np.float32),
    )
    predictor = Predictor(chosen.run.stage(EXPORT.folder))
    vectors = {
        "dense": predict_logits(torch_network(load_finetuned(source)), split, Collator(tokenizer), 32),
        "exported": np.array([answer.vector for answer in predictor.answers([(text,) for text in texts])], np.float32),
    }
    found = {model: ranks(own[0::2], own[1::2]) for model, own in vectors.items()}
    content = {
        "recipe": chosen.recipe.name,
        "model": Path(chosen.recipe.model.name).name,
        "sparsity": chosen.recipe.prune.sparsity,
        "precision": chosen.recipe.export.precision,
        "rows": len(pairs),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment_record(),
        "metrics": {metric: _compared(found, metric) for metric in METRICS},
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@app.command()
def table(results: Annotated[Path, typer.Option(help="The folder of the JSON files.")] = RESULTS) -> None:
    """Print the results as Markdown."""
    typer.echo("| encoder | texts | metric | dense | exported | lost |\n|---|---|---|---|---|---|")
    for file in sorted(results.glob("*.json")):
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for metric, own in content["metrics"].items():
            cells = [f"{own[key]['value']:.3f} [{own[key]['low']:.3f}, {own[key]['high']:.3f}]" for key in own]
            typer.echo(f"| {file.stem} | {content['rows']} | {metric} | {' | '.join(cells)} |")


@app.command()
def texts(
    file: Annotated[Path, typer.Argument(help="The text file.")],
    rows: Annotated[int, typer.Option(min=FIRST, help="Queries that are left out, with their passages.")] = 2000,
) -> None:
    """Write text of the same kind that is not searched."""
    pairs = docstring_pairs(PACKAGES)[rows:]
    file.write_text("".join(f"{text}\n" for pair in pairs for text in pair), encoding="utf-8")
    typer.echo(f"{2 * len(pairs):,} texts: {file}")


def docstring_pairs(packages: Sequence[str]) -> list[tuple[str, str]]:
    """Return first sentences of docstrings with what follows them; the choice depends on the texts alone.

    Args:
        packages: installed ones; files are parsed, never imported.
    """
    found: dict[str, tuple[str, str]] = {}
    passages: set[str] = set()
    for package in packages:
        for file in sorted(package_folder(package).rglob("*.py")):
            for query, passage in _pairs_of(file):
                key, other = normalized(query), normalized(passage)
                # Two that are alike could not be told apart.
                if key not in found and other not in passages:
                    found[key] = (query, passage)
                    passages.add(other)
    order = sorted(found, key=lambda key: hashlib.sha256(key.encode(errors="surrogatepass")).digest())
    return [found[key] for key in order]


def _pairs_of(file: Path) -> Iterator[tuple[str, str]]:
    fewest, most = QUERY_WORDS
    for text in docstrings_of(file):
        query = first_sentence(text)
        rest = " ".join(text.split())[len(query) :].split()
        if fewest <= len(query.split()) <= most and len(rest) >= PASSAGE_WORDS[0]:
            yield query, " ".join(rest[: PASSAGE_WORDS[1]])


def ranks(queries: Vectors, passages: Vectors) -> NDArray[np.int64]:
    """Return the rank of each query's own passage among all, from 1; equal ones stand before it.

    Args:
        queries: [N, D].
        passages: [N, D], in the same order.
    """
    lengths = [np.linalg.norm(own, axis=1, keepdims=True) for own in (queries, passages)]
    products = (queries / lengths[0]) @ (passages / lengths[1]).T
    return np.asarray((products >= np.diag(products)[:, None]).sum(axis=1), np.int64)


def ndcg(found: NDArray[np.int64]) -> NDArray[np.float64]:
    """nDCG of the first ten passages, of each query with one right passage at these ranks."""
    return np.where(found <= FIRST, 1 / np.log2(1 + found), 0.0)


def recall(found: NDArray[np.int64]) -> NDArray[np.float64]:
    """Whether the right passage is among the first ten, of each query."""
    return (found <= FIRST).astype(np.float64)


METRICS = {f"nDCG@{FIRST}": ndcg, f"recall@{FIRST}": recall}


def _compared(found: dict[str, NDArray[np.int64]], metric: str) -> dict[str, Any]:
    """Both models' means with their intervals, and what the second loses, over the same resamples of queries."""
    of_queries = np.stack([METRICS[metric](found[model]) for model in ("dense", "exported")], axis=1)
    generator = np.random.default_rng(0)
    draws = np.array(
        [of_queries[generator.integers(0, len(of_queries), len(of_queries))].mean(axis=0) for _ in range(RESAMPLES)]
    )
    dense, exported = of_queries.mean(axis=0).tolist()
    intervals = {
        "dense": bootstrap_interval(dense, draws[:, 0], ""),
        "exported": bootstrap_interval(exported, draws[:, 1], ""),
        "lost": bootstrap_interval(dense - exported, draws[:, 0] - draws[:, 1], ""),
    }
    return {key: asdict(own) for key, own in intervals.items()}


if __name__ == "__main__":
    app()
