"""The files of the gate: its verdict, and what it measured again before that."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal, Self

from sdp.gate.check import Check, Outcome
from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Stored
from sdp.pipeline.artifacts.latency import MeasuredAgain

SUMMARY_FILE = "summary.md"
"""Beside the verdict: the checks as a Markdown table."""


class StoredCell(Stored):
    """What of the benchmark a check is about: a case (null: all of them together) with a number of threads."""

    case: str | None
    threads: Count


class StoredCheck(Stored):
    """A check of the gate (see `gate.check.Check`), and the same as a sentence."""

    name: str
    outcome: Outcome
    threshold: float | None
    value: float | None
    low: float | None
    high: float | None
    subject: str
    bound: Literal["min", "max"]
    cell: StoredCell | None
    reason: str
    sentence: str

    @classmethod
    def of(cls, check: Check) -> Self:
        """A check as it is stored."""
        return cls.model_validate({**asdict(check), "sentence": check.sentence()})


class MeasuringTime(Stored):
    """The time and the number of looks of the gate's further measurements."""

    seconds: float
    looks: NotNegative


class GateVerdict(Artifact):
    """The verdict with its exit code and every check. One of other thresholds has no time of measuring."""

    STAGE = "gate"
    FILE = "verdict.json"

    verdict: Outcome
    exit_code: int
    checks: tuple[StoredCheck, ...]
    measured_again: MeasuringTime | None = None


class Measurements(Artifact):
    """What the gate measured again, for one benchmark, which is named by the hash of its file."""

    STAGE = "gate"
    FILE = "measurements.json"

    benchmark: str
    looks: tuple[MeasuredAgain, ...]
