"""The section of examples: changed predictions, lost ones first."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sdp.pipeline.artifacts.comparison import FLIPS_FILE, EvaluateMetrics
from sdp.pipeline.stages import EVALUATE
from sdp.report.section import ReportSection, RunFiles

SHOWN = {"lost": 10, "gained": 5, "other": 3}
# Regression and ranking: every score changes, and the file has the largest changes first.
MOVES_SHOWN = 12
LONGEST_TEXT = 320
_TITLES = {
    "lost": "Right before, wrong now",
    "gained": "Wrong before, right now",
    "other": "Wrong before and after, in another way",
    "moved": "The largest moves",
}


@dataclass(frozen=True)
class Example:
    """One prediction that changed.

    Attributes:
        texts: the row's text columns; for tagging the sentence before the word, the word, and the rest.
        tagged: whether `texts` is a sentence in three pieces.
        label, dense, pruned: the label, and the predictions of both models.
        probabilities: formatted probabilities of the predictions; empty where there are none.
        place: row, word, language or subset, formatted.
        language: the row's language; empty where the data has none.
    """

    texts: tuple[str, ...]
    tagged: bool
    label: str
    dense: str
    pruned: str
    probabilities: tuple[str, ...]
    place: str
    language: str


def section(files: RunFiles) -> ReportSection:
    """Return some rows of flips.csv."""
    # Texts may have any length.
    csv.field_size_limit(2**31 - 1)
    with (files.run.stage(EVALUATE.folder) / FLIPS_FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    part = EvaluateMetrics.load(files.run).part
    groups = [
        (_TITLES[kind], len(found), [example(row, part) for row in chosen]) for kind, found, chosen in choose(rows)
    ]
    return ReportSection("Predictions that changed", "sections/flips.html", {"groups": groups})


Row = dict[str, str]


def choose(rows: Sequence[Row]) -> list[tuple[str, list[Row], list[Row]]]:
    """Choose rows to show by type of change: type, all its rows, the shown rows.

    For each type the rows with the highest probability of the pruned model, alternating between languages or subsets.
    """
    if rows and "change" not in rows[0]:
        return [("moved", list(rows), list(rows[:MOVES_SHOWN]))]
    kinds = [(kind, [row for row in rows if row["change"] == kind]) for kind in SHOWN]
    return [(kind, found, _in_turns(found)[: SHOWN[kind]]) for kind, found in kinds if found]


def _in_turns(rows: Iterable[Row]) -> list[Row]:
    by_part: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: -float(row["pruned_probability"])):
        by_part.setdefault(row["part"], []).append(row)
    return [row for turn in zip_longest(*by_part.values()) for row in turn if row is not None]


def example(row: Row, part: str | None) -> Example:
    """Format a row of flips.csv for the page.

    Args:
        row: the row.
        part: the kind of its "part", "language" or "subset"; None where there are none.
    """
    tagged = "word" in row
    if tagged:
        texts = _around(row["text"].split(" "), int(row["word"]))
    else:
        texts = tuple(_cut(row[key]) for key in row if key.startswith("text"))
    place = [f"row {row['row']}", *([f"word {row['word']}"] if tagged else []), *([row["part"]] if row["part"] else [])]
    probabilities = tuple(row[key] for key in ("dense_probability", "pruned_probability") if key in row)
    language = row["part"] if part == "language" else ""
    return Example(texts, tagged, row["label"], row["dense"], row["pruned"], probabilities, ", ".join(place), language)


def _around(words: list[str], place: int) -> tuple[str, ...]:
    """Split a sentence into three pieces around a word, and truncate long ends."""
    before, after = " ".join(words[:place]), " ".join(words[place + 1 :])
    half = LONGEST_TEXT // 2
    before = before if len(before) <= half else f"…{before[-half:]}"
    return before, words[place], _cut(after, half)


def _cut(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"
