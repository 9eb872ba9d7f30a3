"""The section on the trimmed vocabulary: coverage of held-out texts, and cost."""

from __future__ import annotations

from sdp.data.corpus import few_texts_lines
from sdp.errors import RunError
from sdp.pipeline.artifacts.comparison import EvaluateMetrics
from sdp.pipeline.artifacts.vocabulary import VocabularyReport
from sdp.report.section import ReportSection, RunFiles
from sdp.report.summary import trimming_line


def section(files: RunFiles) -> ReportSection | None:
    """Return the coverage in total and by language; None where the vocabulary was not trimmed."""
    vocabulary = VocabularyReport.find(files.run)
    if vocabulary is None:
        return None
    rows = [("all", vocabulary.coverage), *vocabulary.parts.items()]
    trimming = EvaluateMetrics.load(files.run).vocabulary
    if trimming is None:
        raise RunError("trimming was not evaluated", where=str(EvaluateMetrics.path(files.run)))
    values = {
        "vocabulary": vocabulary,
        "rows": rows,
        "few": few_texts_lines(vocabulary.texts),
        "trimming": trimming_line(trimming),
        "lost": [("all", trimming), *trimming.parts.items()],
    }
    return ReportSection("Vocabulary", "sections/vocabulary.html", values)
