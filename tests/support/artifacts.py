"""Stored files that no run made: whole and valid, with the numbers that a test is about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdp.pipeline.artifacts.comparison import EvaluateMetrics, ExportMetrics
from sdp.pipeline.artifacts.latency import BenchEnvironment, BenchLatency
from sdp.pipeline.artifacts.vocabulary import BeforeAfter, CoverageReport, VocabularyReport
from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.results import ROLES, CaseResult, ProcessResult
from sdp_onnx.bench.statistics import Latency, Start

Json = dict[str, Any]
UNDEFINED: Json = {"value": None, "low": None, "high": None, "undefined": "all labels are of one class"}
TEST: Json = {"name": "paired bootstrap", "p": 0.5, "only_first": None, "only_second": None}


def around(value: float, half: float = 0.02) -> Json:
    """A value with an interval, as it is stored."""
    return {"value": value, "low": value - half, "high": value + half}


def scores(dense: Json, second: Json, drop: Json, name: str = "exported") -> Json:
    """The scores of two models."""
    return {"models": {"dense": dense, name: second}, "drop": drop, "test": TEST}


def part(drop: Json, drop_of_all: Json | None = None, name: str = "exported", rows: int = 100) -> Json:
    """A part of the rows, such as a language."""
    whole = {"rows": rows, **scores(around(0.8), around(0.7), drop, name), "also": {}, "flips": 3}
    return {**whole, "drop_of_all": drop if drop_of_all is None else drop_of_all}


def of_class(label: str, dense: float | None, second: float | None, name: str = "exported") -> Json:
    """A class with F1 of two models, whose drop has an interval of 0.02 on either side; recall is the same."""
    first, other, drop = (
        UNDEFINED if dense is None or second is None else around(value, 0.02)
        for value in (dense, second, (dense or 0.0) - (second or 0.0))
    )
    measure = {"dense": first, name: other, "drop": drop}
    return {"class": label, "rows": 10, "recall": measure, "f1": {**measure, "drop_of_all": drop}}


def metrics_json(name: str = "exported", **changes: Any) -> Json:
    """metrics.json of evaluate ("pruned") or export ("exported") with some keys changed."""
    whole = {
        "split": "test",
        "metric": "accuracy",
        "rows": 400,
        "predictions": 400,
        "mean_over": None,
        **scores(around(0.83), around(0.80), around(0.03), name),
        "also": {},
        "flips": 20,
        "part": None,
        "parts": {},
        "averages": {},
        "classes": [],
        "classes_without_rows": [],
        "unread_words": 0,
        "constant": {"answer": 'always answering "a"', "value": 0.5, "gain": around(0.33, 0.03)},
    }
    return {**whole, **changes}


def export_metrics(**changes: Any) -> ExportMetrics:
    """metrics.json of an export with some keys changed."""
    torch = {
        "verified_rows": 40,
        "max_relative_error": 1e-6,
        "tolerance": 1e-4,
        "split_relative_error": 2e-6,
        "same_predictions": 0.99,
    }
    return ExportMetrics.parse(json.dumps(metrics_json(**{"torch": torch, **changes})), "export")


def evaluate_metrics(**changes: Any) -> EvaluateMetrics:
    """metrics.json of evaluate with some keys changed."""
    return EvaluateMetrics.parse(json.dumps(metrics_json("pruned", **changes)), "evaluate")


def case_result(case: str, starts: Sequence[Start], threads: int = 2, **changes: Any) -> CaseResult:
    """A case of the benchmark: what its starts say, and numbers that nobody looks at."""
    latency = Latency(starts[0].p50_ms, starts[0].p50_ms, starts[0].p99_ms, 100.0, 10)
    speedup = starts[0].speedup
    whole = {
        "case": case,
        "batch_size": 1,
        "sequence_length": None,
        "threads": threads,
        "rounds": 10,
        "runs_per_turn": 3,
        "baseline": latency,
        "candidate": latency,
        "speedup": Interval(speedup, speedup, speedup),
        "same_file": Interval.exact(1.0),
        "quiet": True,
        "starts": tuple(starts),
    }
    return CaseResult(**{**whole, **changes})


def three_processes(peak: int | None, threads: int = 2) -> tuple[ProcessResult, ...]:
    """One process of each role."""
    return tuple(ProcessResult(role, threads, 1.0, peak) for role in ROLES)


ENVIRONMENT = BenchEnvironment(
    cpu="one",
    instruction_sets=[],
    logical_cores=2,
    allowed_cores=2,
    cpu_quota=None,
    memory_bytes=10**9,
    os="Linux",
    python="3.11",
    packages={"onnxruntime": "1.20"},
    providers=[],
    gpus=[],
)


def bench_latency(cases: Sequence[CaseResult], processes: Sequence[ProcessResult], **changes: Any) -> BenchLatency:
    """latency.json of these cases and processes."""
    whole: Mapping[str, Any] = {
        "baseline": "dense.onnx",
        "candidate": "model.onnx",
        "baseline_bytes": 1_000_000,
        "candidate_bytes": 400_000,
        "provider": "cpu",
        "cases": tuple(cases),
        "processes": tuple(processes),
        "quiet": True,
        "environment": ENVIRONMENT,
        "load_average": (),
    }
    return BenchLatency(**{**whole, **changes})


def coverage_report(words: int = 0, same_words: float | None = None) -> CoverageReport:
    """What kept pieces cover of so many words."""
    nothing = BeforeAfter(before=None, after=None)
    return CoverageReport(
        words=words, same_words=same_words, kept_pieces=None, unknown_per_1000=nothing, pieces_per_word=nothing
    )


def vocabulary_report(**changes: Any) -> VocabularyReport:
    """vocabulary.json with some fields changed."""
    whole = {
        "kind": "WordPiece",
        "pieces_before": 100,
        "pieces_after": 50,
        "pieces_used": 50,
        "texts": {},
        "counted_texts": 1,
        "held_out_texts": 1,
        "coverage": coverage_report(),
        "parts": {},
        "removed_bytes": 0,
    }
    return VocabularyReport(**{**whole, **changes})
