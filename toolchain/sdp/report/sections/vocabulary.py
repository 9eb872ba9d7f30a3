"""The section on the trimmed vocabulary: what the kept pieces cover of texts that were held out."""

from __future__ import annotations

from sdp.report.section import RunFiles, Section


def section(files: RunFiles) -> Section | None:
    """Coverage in all and by language; None where the vocabulary is the pretrained model's."""
    vocabulary = files.optional("0-vocabulary/vocabulary.json")
    if vocabulary is None:
        return None
    rows = [("all", vocabulary["coverage"]), *vocabulary["parts"].items()]
    return Section("Vocabulary", "sections/vocabulary.html", {"vocabulary": vocabulary, "rows": rows})
