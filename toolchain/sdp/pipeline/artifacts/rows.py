"""rows.json of an export: the rows that the file was scored on, by hash, and what it predicted there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from sdp.data.rows import SplitName
from sdp.pipeline.artifacts.base import Artifact

# Predictions are compared as columns of a table, one a class.
MOST_CLASSES = 10_000


class ScoredRows(Artifact):
    """Of each row its hash, part, group and number of words; of each prediction the label and itself.

    `label_count` is the number C of labels of a multi-label task: of each row C times 1 or 0.
    """

    STAGE = "export"
    FILE = "rows.json"

    split: SplitName
    hashes: tuple[str, ...] = Field(min_length=1)
    part_names: tuple[str, ...]
    parts: tuple[int, ...]
    labels: tuple[int, ...] | tuple[float, ...]
    predicted: tuple[int, ...] | tuple[float, ...]
    groups: tuple[Annotated[int, Field(ge=0, lt=2**62)], ...] | None
    tags: tuple[str, ...] | None
    words: tuple[Annotated[int, Field(ge=0)], ...] | None
    label_count: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        rows = len(self.hashes)
        lengths = [len(self.parts), *(len(own) for own in (self.groups, self.words) if own is not None)]
        predictions = rows * (self.label_count or 1) if self.words is None else sum(self.words)
        if {*lengths, rows} != {rows} or {len(self.labels), len(self.predicted)} != {predictions}:
            raise ValueError("its lists have different lengths")
        if (self.words is None) is not (self.tags is None):
            raise ValueError("words and tags come together")
        names = len(self.part_names)
        if len(set(self.part_names)) < names or not all(0 <= part < names for part in self.parts):
            raise ValueError("a row is of a part without a name, or two parts have one name")
        return self

    @model_validator(mode="after")
    def _are_classes(self) -> Self:
        most = MOST_CLASSES if self.tags is None else len(self.tags)
        if self.label_count is not None:
            most = 2
        for values, least in ((self.labels, 0), (self.predicted, -1)):
            # Scores of regression and ranking are any numbers.
            ids = [value for value in values if isinstance(value, int)]
            if len(ids) == len(values) and not all(least <= value < most for value in ids):
                raise ValueError(f"a label or prediction is no class: they are 0 to {most - 1}")
        return self

    def store(self, folder: Path) -> None:
        """Write the file on one line: it is as long as the split."""
        text = json.dumps(self.to_json(), separators=(",", ":"))
        (folder / self.FILE).write_text(text + "\n", encoding="utf-8")
