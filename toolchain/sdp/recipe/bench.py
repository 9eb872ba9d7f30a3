"""The recipe's [bench]: the grid of measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from sdp.recipe.base import Section
from sdp_onnx.runtimes.base import Provider, RuntimeName


class BenchSection(Section):
    """What is measured: the exported file against the dense one, in turns."""

    filled_in: ClassVar[Mapping[str, str]] = {"threads": "thread_counts"}

    sequence_lengths: tuple[int | Literal["task"], ...] = Field(default=("task", 128), min_length=1)
    """Input lengths in tokens, filled with real text; "task" keeps each row's own length. The default 128
    is left out for a model with fewer positions; a length that you name and the model cannot take is an error."""
    batch_sizes: tuple[int, ...] = Field(default=(1,), min_length=1)
    """Rows in one call."""
    threads: int | tuple[int, ...] = 2
    """onnxruntime's intra-op threads; a list measures each."""
    provider: Provider = "cpu"
    """Execution provider. cuda is an error where it is missing."""
    runtime: RuntimeName = "onnxruntime"
    """What runs the dense model, against which the exported file is measured in onnxruntime. openvino, of the extra of
    that name: in fp32, or with export.precision = "int8" in NNCF's int8. Its score is measured too."""
    seconds: float = Field(default=3.0, gt=0)
    """Time for each cell of the grid, all files and starts together."""
    starts: int = Field(default=3, ge=1)
    """How often the files are loaded into new processes; the intervals then include the variation between starts."""

    @field_validator("sequence_lengths")
    @classmethod
    def _lengths_fit(cls, lengths: tuple[int | Literal["task"], ...]) -> tuple[int | Literal["task"], ...]:
        if any(isinstance(length, int) and not 4 <= length <= 8192 for length in lengths):
            raise ValueError("each length must lie between 4 and 8192 tokens")
        return lengths

    @field_validator("batch_sizes", "threads")
    @classmethod
    def _positive(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        counts = (value,) if isinstance(value, int) else value
        if not counts or any(count < 1 for count in counts):
            raise ValueError("must be 1 or more")
        return value

    @model_validator(mode="after")
    def _other_runtimes_use_the_cpu(self) -> Self:
        if self.runtime != "onnxruntime" and self.provider != "cpu":
            raise ValueError(f'runtime = "{self.runtime}" runs on the CPU; remove provider = "{self.provider}"')
        return self

    @property
    def thread_counts(self) -> tuple[int, ...]:
        """The thread counts to measure; a single number becomes a tuple."""
        return (self.threads,) if isinstance(self.threads, int) else self.threads
