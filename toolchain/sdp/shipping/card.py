"""The shipped folder's README.md: a model card in the hub's format, written from the measured results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

from jinja2 import Environment, PackageLoader, StrictUndefined

import sdp
from sdp.data.source import resolve_source, text_names
from sdp.gate.measured import measured_on
from sdp.models.source import PACKAGE_PREFIX
from sdp.pipeline.artifacts.comparison import Compared, ExportMetrics
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.latency import BenchEnvironment
from sdp.pipeline.artifacts.results import FinishedResults
from sdp.recipe.benchmark_tasks import ProblemType
from sdp.recipe.sections import Recipe
from sdp.recipe.shareable import shareable
from sdp.report.sections.cost import lost_sentence
from sdp.report.summary import summary_rows
from sdp.report.tables import number_text, spread_text
from sdp.shipping.golden import SENTENCES
from sdp.shipping.licenses import UNKNOWN, Licenses

PIPELINE_TAGS: dict[ProblemType, str] = {
    "classification": "text-classification",
    "multi-label": "text-classification",
    "regression": "text-classification",
    "tagging": "token-classification",
    "ranking": "text-ranking",
    "embedding": "sentence-similarity",
    "question-answering": "question-answering",
}
# optimum's class for each problem type.
ORT_MODELS: dict[ProblemType, str] = {
    "classification": "ORTModelForSequenceClassification",
    "multi-label": "ORTModelForSequenceClassification",
    "regression": "ORTModelForSequenceClassification",
    "tagging": "ORTModelForTokenClassification",
    "ranking": "ORTModelForSequenceClassification",
    "question-answering": "ORTModelForQuestionAnswering",
}


def model_card(
    recipe: Recipe,
    results: FinishedResults,
    licenses: Licenses,
    *,
    operator_library: str | None,
    tolerance: float,
    oldest: str | None,
    framed: bool,
    optional_answers: bool = False,
) -> str:
    """Format the card.

    Args:
        recipe: the recipe.
        results: what the stages found.
        licenses: of the model and the data.
        operator_library: the file name of the library that the model needs; None where it needs none.
        tolerance: of the golden inputs.
        framed: whether the tokenizer puts tokens around a text, so that none is without.
        optional_answers: whether a question may have no answer.
        oldest: the oldest release of onnxruntime that reads the model; None where no known one does.

    Returns:
        Markdown with YAML front matter.
    """
    environment = Environment(
        loader=PackageLoader("sdp.shipping", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    evaluate, export, bench = results.evaluate, results.export, results.bench
    kind = recipe.task.problem_type
    return environment.get_template("card.md").render(
        front=front_matter(recipe, export, licenses),
        recipe=recipe,
        model_name=shareable(recipe)["model"]["name"],
        version=sdp.__version__,
        results=results,
        vocabulary=results.vocabulary,
        lost=lost_sentence(evaluate, export),
        where=measured_on(export),
        rows=summary_rows(results),
        parts=part_rows(export),
        part=export.part,
        bench=bench,
        machine=machine_words(bench.environment),
        checks=[check.sentence for check in results.gate.checks],
        licenses=licenses,
        library=operator_library,
        tolerance=tolerance,
        oldest=oldest,
        ort_model=ORT_MODELS.get(kind),
        provider="CPUExecutionProvider" if recipe.bench.provider == "cpu" else "CUDAExecutionProvider",
        example=example_text(kind, 1 if kind == "embedding" else len(text_names(recipe))),
        optional=optional_answers,
        framed=framed,
    )


def front_matter(recipe: Recipe, export: ExportMetrics, licenses: Licenses) -> str:
    """Return the YAML at the top of the card, with the score of the exported file."""
    from huggingface_hub import EvalResult, ModelCardData

    source = resolve_source(recipe)
    task, value = PIPELINE_TAGS[recipe.task.problem_type], value_of(export.models["exported"])
    on_hub = source.dataset is not None and source.dataset == shareable(recipe)["data"]["dataset"]
    known = recipe.task.known
    dataset = source.dataset if known is not None or on_hub else None
    languages = list(export.parts) if export.part == "language" else list(known.languages) if known else None
    model = recipe.model.name
    on_this_machine = model.startswith(PACKAGE_PREFIX) or model != shareable(recipe)["model"]["name"]
    result = EvalResult(
        task_type=task,
        dataset_type=dataset or recipe.name,
        dataset_name=recipe.task.name or recipe.name,
        dataset_split=export.split,
        metric_type=export.metric,
        metric_value=None if value is None else round(value, 4),
    )
    data = ModelCardData(
        license=licenses.shipped.name.lower(),
        language=languages,
        base_model=None if on_this_machine else model,
        datasets=dataset,
        library_name="onnx",
        pipeline_tag=task,
        tags=["onnx", "onnxruntime", "pruning", "sparse", "sdp"],
        metrics=[export.metric],
        model_name=recipe.name,
        eval_results=[result],
    )
    return str(data.to_yaml())


def part_rows(export: ExportMetrics) -> list[list[str]]:
    """Return rows of the loss of the exported file for each language or subset, and for their averages."""
    named: list[tuple[str, str, Compared]] = [(name, f"{part.rows:,}", part) for name, part in export.parts.items()]
    named += [(f"average, {name}", "", average) for name, average in export.averages.items()]
    return [[name, rows, *_dense_against_exported(record)] for name, rows, record in named]


def _dense_against_exported(record: Compared) -> list[str]:
    values = [number_text(record.models[name]) for name in ("dense", "exported")]
    return [*values, number_text(record.drop), spread_text(record.drop)]


def machine_words(environment: BenchEnvironment) -> str:
    """Describe the machine of the measurements."""
    runtime = next((f"{k} {v}" for k, v in environment.packages.items() if k.startswith("onnxruntime")), "")
    processors = [*environment.gpus, f"{environment.cpu}, {environment.logical_cores} cores"]
    return ", ".join(filter(None, [*processors, environment.os, runtime]))


def example_text(kind: ProblemType, columns: int) -> dict[str, str]:
    """Return the values of the examples: texts of unequal length, in the form that each library needs."""
    shown = [SENTENCES[1], SENTENCES[0], SENTENCES[2]]
    if kind == "tagging":
        rows = ", ".join(f"[{_quoted(text.split())}]" for text in shown[1:])
        return {
            "kind": kind,
            "texts": f"[{rows}]",
            "words_of_tokenizers": ", is_pretokenized=True",
            "transformers": "texts, is_split_into_words=True",
        }
    if columns > 1:
        rows = ", ".join(f"({_quoted(pair)})" for pair in pairwise(shown))
        note = "" if columns == 2 else "  # the second: what follows the first column, joined by spaces"
        columns_of = "[first for first, _ in texts], [second for _, second in texts]"
        return {"kind": kind, "texts": f"[{rows}]{note}", "words_of_tokenizers": "", "transformers": columns_of}
    return {"kind": kind, "texts": f"[{_quoted(shown)}]", "words_of_tokenizers": "", "transformers": "texts"}


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(json.dumps(word, ensure_ascii=False) for word in words)


def unknown_licenses(licenses: Licenses) -> str:
    """The card's line on licences that are not declared; empty where all are known."""
    missing = licenses.unknown()
    return f"licence {UNKNOWN} for {' and '.join(missing)}" if missing else ""
