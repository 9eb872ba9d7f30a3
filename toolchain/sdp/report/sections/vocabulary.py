"""The section on the trimmed vocabulary: coverage of held-out texts, and cost."""

from __future__ import annotations

from sdp.cli.render.summary import trimming_line
from sdp.data.corpus import few_texts_lines
from sdp.report.section import RunFiles, Section


def section(files: RunFiles) -> Section | None:
    """Return the coverage in total and by language; None where the vocabulary was not trimmed."""
    vocabulary = files.optional("0-vocabulary/vocabulary.json")
    if vocabulary is None:
        return None
    rows = [("all", vocabulary["coverage"]), *vocabulary["parts"].items()]
    trimming = files.json("3-evaluate/metrics.json")["vocabulary"]
    parts = trimming["parts"] if list(trimming["parts"]) != [""] else {}
    values = {
        "vocabulary": vocabulary,
        "rows": rows,
        "few": few_texts_lines(vocabulary["texts"]),
        "trimming": trimming_line(trimming),
        "lost": [("all", trimming), *parts.items()],
    }
    return Section("Vocabulary", "sections/vocabulary.html", values)
