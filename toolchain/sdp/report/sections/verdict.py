"""The section on the gate's verdict and its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sdp.gate.measured import changed_sentence, remarks
from sdp.report.section import RunFiles, Section

_ORDER = ("fail", "inconclusive", "pass")
_PLURAL = {"fail": "fail", "inconclusive": "are inconclusive", "pass": "pass"}
_WORDS = {"fail": "fails", "inconclusive": "is inconclusive", "pass": "passes"}


def section(files: RunFiles) -> Section:
    """Return the largest changes, remarks on validity, and every check, failed checks first."""
    export = files.json("4-export/metrics.json")
    checks = files.json("6-gate/verdict.json")["checks"]
    ordered = sorted(checks, key=lambda check: _ORDER.index(check["outcome"]))
    values = {"checks": ordered, "reason": reason(checks)}
    values |= {"changed": changed_sentence(export), "remarks": remarks(export)}
    return Section("Verdict", "sections/verdict.html", values)


def reason(checks: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence with the number of checks by outcome."""
    if not checks:
        return "Nothing was checked: that is no pass."
    counts = Counter(check["outcome"] for check in checks)
    present = [(counts[outcome], outcome) for outcome in _ORDER if counts[outcome]]
    if len(present) == 1:
        count, outcome = present[0]
        if count == 1:
            return f"The one check {_WORDS[outcome]}."
        return f"{'Both' if count == 2 else f'All {count}'} checks {_PLURAL[outcome]}."
    words = [f"{count} {_WORDS[outcome] if count == 1 else _PLURAL[outcome]}" for count, outcome in present]
    return f"Of {len(checks)} checks {', '.join(words[:-1])} and {words[-1]}."
