"""Write the checks of a gate as JUnit XML and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from sdp.gate.check import EXIT_CODES, Check
from sdp.gate.judge import verdict
from sdp.report.tables import markdown_table

HEADERS = ("check", "outcome", "measured")


def junit(checks: Sequence[Check], suite: str, note: str = "") -> str:
    """Format checks as JUnit XML: a failure for each failed check, an error for each inconclusive one, and a note."""
    counts = {outcome: sum(check.outcome == outcome for check in checks) for outcome in EXIT_CODES}
    root = ElementTree.Element("testsuites")
    element = ElementTree.SubElement(
        root,
        "testsuite",
        name=f"sdp gate: {suite}",
        tests=str(len(checks)),
        failures=str(counts["fail"]),
        errors=str(counts["inconclusive"]),
    )
    for check in checks:
        case = ElementTree.SubElement(element, "testcase", classname=f"gate.{check.name}", name=check.subject)
        if check.outcome == "fail":
            ElementTree.SubElement(case, "failure", message=check.sentence())
        elif check.outcome == "inconclusive":
            ElementTree.SubElement(case, "error", message=f"inconclusive: {check.sentence()}")
    if note:
        ElementTree.SubElement(element, "system-out").text = note
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def markdown(checks: Sequence[Check], suite: str, note: str = "") -> str:
    """Format checks as a Markdown table with a note, for a pull request or a CI job's summary."""
    if not checks:
        return f"### sdp gate: {suite}: **{verdict(checks)}** (nothing was checked)\n"
    rows = [(check.name, check.outcome, check.sentence()) for check in checks]
    lines = markdown_table(HEADERS, rows, labels=len(HEADERS))
    below = ["", note] if note else []
    return "\n".join([f"### sdp gate: {suite}: **{verdict(checks)}**", "", *lines, *below, ""])
