"""What a verdict or a comparison reads out of a run folder's JSON, checked before anything is concluded from it.

A file may be damaged, or come from anywhere. A number that is none (NaN), a missing cell or an interval turned around
would otherwise give a verdict that looks like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sdp.errors import RunError
from sdp.recipe.benchmark_tasks import MetricName

ROLES = ("baseline", "baseline again", "candidate")
# Predictions are compared as columns of a table, one a class.
MOST_CLASSES = 10_000

Positive = Annotated[float, Field(gt=0)]
# No count of bytes, rows or threads is beyond what a float holds exactly.
Count = Annotated[int, Field(gt=0, lt=2**53)]


class _Stored(BaseModel):
    """What else a file holds is not read here."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class _Interval(_Stored):
    """A value with its interval, or, with a reason, none of the three."""

    value: float | None
    low: float | None
    high: float | None
    undefined: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        known = [number is not None for number in (self.value, self.low, self.high)]
        if any(known) is not all(known) or all(known) is bool(self.undefined):
            raise ValueError("either value, low and high are numbers, or they are null with a reason")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the interval begins at {self.low:g} and ends at {self.high:g}")
        return self


class _Part(_Stored):
    drop_of_all: _Interval


class _F1(_Stored):
    drop_of_all: _Interval


class _Class(_Stored):
    # A word of Python.
    name: str = Field(alias="class")
    f1: _F1


class _Constant(_Stored):
    answer: str
    value: float | None
    gain: _Interval


class _Torch(_Stored):
    # Infinite where the file gives something else than torch altogether.
    max_relative_error: float = Field(ge=0, allow_inf_nan=True)
    split_relative_error: float = Field(ge=0, allow_inf_nan=True)
    same_predictions: float | None = Field(ge=0, le=1)


class _Models(_Stored):
    dense: _Interval
    exported: _Interval


class Exported(_Stored):
    """4-export/metrics.json, as far as the gate reads it."""

    split: str
    metric: MetricName
    rows: Count
    mean_over: str | None
    models: _Models
    drop: _Interval
    part: str | None
    parts: dict[str, _Part]
    classes: list[_Class]
    classes_without_rows: list[str]
    constant: _Constant
    torch: _Torch


class _Start(_Stored):
    rounds: Count
    speedup: Positive
    speedup_error: float = Field(ge=0)
    same_file: Positive
    p50_ms: Positive
    p99_ms: Positive


class _Case(_Stored):
    case: str
    threads: Count
    starts: list[_Start] = Field(min_length=1)


class _Process(_Stored):
    role: Literal["baseline", "baseline again", "candidate"]
    threads: Count
    peak_memory_bytes: Count | None


class _Timed(_Stored):
    cases: list[_Case]
    processes: list[_Process]

    @model_validator(mode="after")
    def _every_cell_once(self) -> Self:
        cells = Counter((case.case, case.threads) for case in self.cases)
        if twice := [cell for cell, count in cells.items() if count > 1]:
            raise ValueError(f"the case {twice[0][0]!r} with {twice[0][1]} threads stands there twice")
        counts = Counter((process.threads, str(process.role)) for process in self.processes)
        for threads in sorted({process.threads for process in self.processes}):
            if len({counts[threads, role] for role in ROLES}) > 1:
                raise ValueError(f"a process with {threads} threads is missing")
        return self


class _Measured(_Timed):
    """What of 5-bench/latency.json gate and snapshot both read."""

    candidate_bytes: Count
    cases: list[_Case] = Field(min_length=1)
    processes: list[_Process] = Field(min_length=1)


class Bench(_Measured):
    """5-bench/latency.json, as far as the gate reads it."""

    baseline_bytes: Count


class _Compared(_Measured):
    """What of 5-bench/latency.json a snapshot keeps."""

    environment: dict[str, Any]


class _Look(_Timed):
    seconds: float = Field(ge=0)


class Looks(_Stored):
    """6-gate/measurements.json: what was measured again."""

    looks: list[_Look]


class Rows(_Stored):
    """rows.json of an export: rows by hash, their labels, and what was predicted (see `evaluation.rows_record`)."""

    split: str
    hashes: list[str] = Field(min_length=1)
    part_names: list[str]
    parts: list[int]
    labels: list[int] | list[float]
    predicted: list[int] | list[float]
    groups: list[Annotated[int, Field(ge=0, lt=2**62)]] | None
    tags: list[str] | None
    words: list[Annotated[int, Field(ge=0)]] | None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        rows = len(self.hashes)
        lengths = [len(self.parts), *(len(own) for own in (self.groups, self.words) if own is not None)]
        predictions = rows if self.words is None else sum(self.words)
        if {*lengths, rows} != {rows} or {len(self.labels), len(self.predicted)} != {predictions}:
            raise ValueError("its lists have different lengths")
        if (self.words is None) is not (self.tags is None):
            raise ValueError("words and tags come together")
        names = len(self.part_names)
        if len(set(self.part_names)) < names or not all(0 <= part < names for part in self.parts):
            raise ValueError("a row is of a part without a name, or two parts have one name")
        most = MOST_CLASSES if self.tags is None else len(self.tags)
        for values, least in ((self.labels, 0), (self.predicted, -1)):
            # Scores of regression and ranking are any numbers.
            ids = [value for value in values if isinstance(value, int)]
            if len(ids) == len(values) and not all(least <= value < most for value in ids):
                raise ValueError(f"a label or prediction is no class: they are 0 to {most - 1}")
        return self


class Snapshot(_Stored):
    """A run as comparisons see it (see `versus.snapshot`)."""

    metric: MetricName
    part: str | None
    rows: Rows
    bench: _Compared | None


def check_stored(kind: type[BaseModel], content: Mapping[str, Any], where: str, hint: str) -> None:
    """See that a file's content is what is concluded from.

    Args:
        kind: what it should be.
        content: what was read.
        where: the file.
        hint: how to make it anew.

    Raises:
        RunError: something is missing, or no such number can have been measured.
    """
    try:
        kind.model_validate(content)
    except ValidationError as error:
        raise RunError(
            f"damaged, or another version's: {'; '.join(_problems(error))}", where=where, hint=hint
        ) from None
    except RecursionError:
        raise RunError("damaged: nested too deeply", where=where, hint=hint) from None


def _problems(error: ValidationError) -> Iterable[str]:
    """The first problems, each with its place."""
    for detail in error.errors(include_url=False, include_input=False)[:3]:
        yield f"{'.'.join(map(str, detail['loc']))}: {detail['msg'][0].lower()}{detail['msg'][1:]}".removeprefix(": ")
