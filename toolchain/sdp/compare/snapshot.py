"""The snapshot of a run, one small JSON file for later comparisons: rows by hash with predictions, benchmark starts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from sdp.errors import RunError
from sdp.pipeline.artifacts.base import Count, Stored, form_number
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.latency import BenchEnvironment, BenchLatency, MeasuredProcess, TimedCase, check_grid
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import RUN_FILE, RunFolder
from sdp.recipe.benchmark_tasks import MetricName

FORM = 1


class SnapshotBench(Stored):
    """The benchmark of a run: the exported file's bytes and memory, and the starts of every case."""

    cases: tuple[TimedCase, ...] = Field(min_length=1)
    candidate_bytes: Count
    processes: tuple[MeasuredProcess, ...] = Field(min_length=1)
    environment: BenchEnvironment

    @model_validator(mode="after")
    def _whole_grid(self) -> Self:
        check_grid(self.cases, self.processes)
        return self

    @classmethod
    def of(cls, bench: BenchLatency) -> Self:
        """The part of a benchmark that comparisons read."""
        cases = (TimedCase(case=own.case, threads=own.threads, starts=own.starts) for own in bench.cases)
        return cls(
            cases=tuple(cases),
            candidate_bytes=bench.candidate_bytes,
            processes=bench.processes,
            environment=bench.environment,
        )


class Snapshot(Stored):
    """A run, for comparisons; `bench` is None where the benchmark is not done."""

    snapshot: Annotated[int, form_number(FORM)]
    recipe: str
    metric: MetricName
    part: str | None
    rows: ScoredRows
    bench: SnapshotBench | None


def take_snapshot(path: Path) -> Snapshot:
    """Read a run folder whose export is done.

    Raises:
        RunError: it is no run folder, it is not exported, or a file of it is damaged or another version's.
    """
    run = RunFolder(path)
    owner = read_json(run.path / RUN_FILE)
    if owner is None or not isinstance(owner.get("recipe"), str):
        hint = "Give a run folder, or a file that sdp compare RUN --save FILE wrote."
        raise RunError("no run folder (it has no run.json)", where=str(run.path), hint=hint)
    metrics, rows, bench = ExportMetrics.load(run), ScoredRows.load(run), BenchLatency.find(run)
    return Snapshot(
        snapshot=FORM,
        recipe=owner["recipe"],
        metric=metrics.metric,
        part=metrics.part,
        rows=rows,
        bench=None if bench is None else SnapshotBench.of(bench),
    )


def load_snapshot(path: Path) -> Snapshot:
    """Read a run folder, or a file that `save_snapshot` wrote.

    Raises:
        RunError: it is neither, it is damaged, or another version of sdp wrote it.
    """
    if path.is_dir():
        return take_snapshot(path)
    if "snapshot" in (read_json(path) or {}):
        saved = Snapshot.read(path, f"Save it again: sdp compare RUN --save {shlex.quote(str(path))}")
        if saved is not None:
            return saved
    hint = "Give a run folder, or a file that sdp compare RUN --save FILE wrote."
    raise RunError("neither a run folder nor a saved baseline", where=str(path), hint=hint)


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot on one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(snapshot.to_json(), ensure_ascii=False, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")
