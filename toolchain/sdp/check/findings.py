"""All findings on a recipe, warnings first."""

from __future__ import annotations

from sdp.check.allocation import allocation_findings
from sdp.check.data import data_findings
from sdp.check.facts import Facts, Finding
from sdp.check.model import architecture_findings
from sdp.check.size import size_findings
from sdp.check.speed import speed_findings
from sdp.check.teacher import teacher_findings
from sdp.check.thresholds import threshold_findings
from sdp.check.training import training_findings

_TOPICS = (
    data_findings,
    architecture_findings,
    threshold_findings,
    speed_findings,
    size_findings,
    training_findings,
    allocation_findings,
    teacher_findings,
)


def explain(facts: Facts) -> list[Finding]:
    """Return all findings on a recipe, warnings before notes.

    Args:
        facts: the collected facts.
    """
    found = [finding for topic in _TOPICS for finding in topic(facts)]
    return sorted(found, key=lambda finding: finding.kind != "warning")
