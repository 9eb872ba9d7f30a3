"""The section on the gate's verdict and its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sdp.gate.check import Outcome
from sdp.gate.measured import changed_sentence, remarks
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.verdict import GateVerdict, StoredCheck
from sdp.report.section import ReportSection, RunFiles

_ORDER: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
_PLURAL: dict[Outcome, str] = {"fail": "fail", "inconclusive": "are inconclusive", "pass": "pass"}
_WORDS: dict[Outcome, str] = {"fail": "fails", "inconclusive": "is inconclusive", "pass": "passes"}


def section(files: RunFiles) -> ReportSection:
    """Return the largest changes, remarks on validity, and every check, failed checks first."""
    export = ExportMetrics.load(files.run)
    checks = GateVerdict.load(files.run).checks
    ordered = sorted(checks, key=lambda check: _ORDER.index(check.outcome))
    values = {"checks": ordered, "reason": reason(checks)}
    values |= {"changed": changed_sentence(export), "remarks": remarks(export)}
    return ReportSection("Verdict", "sections/verdict.html", values)


def reason(checks: Sequence[StoredCheck]) -> str:
    """Return a sentence with the number of checks by outcome."""
    if not checks:
        return "Nothing was checked: that is no pass."
    counts = Counter(check.outcome for check in checks)
    found = [(counts[outcome], outcome) for outcome in _ORDER if counts[outcome]]
    if len(found) == 1:
        count, outcome = found[0]
        if count == 1:
            return f"The one check {_WORDS[outcome]}."
        return f"{'Both' if count == 2 else f'All {count}'} checks {_PLURAL[outcome]}."
    words = [f"{count} {_WORDS[outcome] if count == 1 else _PLURAL[outcome]}" for count, outcome in found]
    return f"Of {len(checks)} checks {', '.join(words[:-1])} and {words[-1]}."
