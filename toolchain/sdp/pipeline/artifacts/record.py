"""stage.json: what a finished stage was made from, and what it made.

A record that is damaged, or that another version wrote in another form, is no error: the stage counts as not done (see
`RunFolder.record`). So these are types for what was read, and no models that refuse it.
"""

from __future__ import annotations

from typing import Any, TypedDict

StageResult = dict[str, float | int | str | None]
"""A few numbers of a finished stage, by name: printed, and kept in its record."""


class OutputFile(TypedDict):
    """A file of the result."""

    bytes: int
    sha256: str


class StageRecord(TypedDict):
    """The record of a finished stage.

    Attributes:
        stage: its name.
        result: what its function returned.
        seconds: of the last attempt.
        resumed: whether an earlier attempt was taken up.
        fingerprint: hash of the ingredients.
        ingredients: settings, inputs, code and libraries, as JSON.
        outputs: its files by name.
    """

    stage: str
    result: StageResult
    seconds: float
    resumed: bool
    fingerprint: str
    ingredients: dict[str, Any]
    outputs: dict[str, OutputFile]
