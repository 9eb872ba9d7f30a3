"""Two models on the same rows: metrics.json of evaluate (dense and pruned) and of export (dense and exported)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import AllowInfNan, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Share, Stored
from sdp.pipeline.artifacts.intervals import Score
from sdp.recipe.benchmark_tasks import MetricName
from sdp_onnx.bench.interval import Interval, Undefined

# Infinite where the file gives something else than torch altogether.
RelativeError = Annotated[float, Field(ge=0), AllowInfNan(True)]
Models = dict[str, Score]
FLIPS_FILE = "flips.csv"
"""Beside evaluate's metrics: the rows whose prediction changed."""


class PairedTest(Stored):
    """A test of "both models are equally good" on the same rows.

    Attributes:
        name: "mcnemar" or "paired bootstrap".
        p: two-sided p-value; None where a score is undefined.
        only_first: rows that only the first model has right (McNemar only).
        only_second: rows that only the second has right (McNemar only).
    """

    name: str
    p: Share | None
    only_first: NotNegative | None
    only_second: NotNegative | None


class Compared(Protocol):
    """Base of the scores of two models with the drop from the first to the second."""

    @property
    def models(self) -> Models:
        """The scores by model, the first one first."""

    @property
    def drop(self) -> Interval | Undefined:
        """The first score less the second."""

    @property
    def test(self) -> PairedTest:
        """Of "both are equally good"."""


class MetricScores(Stored):
    """One more metric of the same rows."""

    models: Models
    drop: Score
    test: PairedTest


class Average(Stored):
    """The mean over some parts, `over`."""

    over: tuple[str, ...]
    models: Models
    drop: Score
    test: PairedTest
    also: dict[MetricName, MetricScores]


class PartScores(Stored):
    """One part, such as a language. `drop_of_all` has a low end that holds for all parts at once."""

    rows: Count
    models: Models
    drop: Score
    test: PairedTest
    also: dict[MetricName, MetricScores]
    flips: NotNegative | None
    drop_of_all: Score


class Comparison(Stored):
    """Two models on one split (see `evaluation.compare`)."""

    split: str
    metric: MetricName
    rows: Count
    predictions: Count
    mean_over: str | None
    models: Models
    drop: Score
    test: PairedTest
    also: dict[MetricName, MetricScores]
    flips: NotNegative | None
    drop_of_all: Score | None = None
    part: str | None
    parts: dict[str, PartScores]
    averages: dict[str, Average]

    def all_scores(self) -> Iterator[Compared]:
        """Every pair of scores that is in here."""
        groups: tuple[Comparison | PartScores | Average, ...] = (self, *self.parts.values(), *self.averages.values())
        yield from groups
        yield from (other for group in groups for other in group.also.values())


class ClassMeasure(Stored):
    """Recall of one class. In the file, the models' scores and the drop are side by side."""

    models: Models
    drop: Score

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, content: object) -> object:
        if not isinstance(content, dict) or "models" in content:
            return content
        own = {key: value for key, value in content.items() if key in cls.model_fields}
        return {"models": {key: value for key, value in content.items() if key not in own}, **own}

    @model_serializer(mode="wrap")
    def _side_by_side(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        return {**content.pop("models"), **content}


class ClassF1(ClassMeasure):
    """F1 of one class. `drop_of_all` has a low end that holds for all classes at once."""

    drop_of_all: Score


class ClassScores(Stored):
    """One class or tag, and the rows (words) that it labels."""

    name: str = Field(alias="class")
    rows: Count
    recall: ClassMeasure
    f1: ClassF1


class SplitComparison(Comparison):
    """A comparison with the same by class, and the number of words that the length limit cuts off."""

    classes: tuple[ClassScores, ...]
    classes_without_rows: tuple[str, ...]
    unread_words: NotNegative


class ConstantBaseline(Stored):
    """The dense model against one answer for all rows: the answer in words, its score, what the model is above it."""

    answer: str
    value: float | None
    gain: Score


class TrimmingCost(Stored):
    """The cost of trimming the vocabulary for the dense model: "full" against "trimmed", and the changed rows."""

    changed_rows: NotNegative
    metric: MetricName
    rows: Count
    mean_over: str | None
    models: Models
    drop: Score
    test: PairedTest
    part: str | None
    parts: dict[str, PartScores]


class _StoredComparison(SplitComparison, Artifact):
    """Requires the models of its stage."""

    MODELS: ClassVar[tuple[str, str]]

    @model_validator(mode="after")
    def _of_both_models(self) -> Self:
        everything: list[Mapping[str, object]] = [scores.models for scores in self.all_scores()]
        everything += [measure.models for own in self.classes for measure in (own.recall, own.f1)]
        if any(tuple(models) != self.MODELS for models in everything):
            raise ValueError(f"scores are not those of the models {' and '.join(self.MODELS)}")
        return self


class EvaluateMetrics(_StoredComparison):
    """The pruned model against the dense one, both in torch."""

    STAGE = "evaluate"
    FILE = "metrics.json"
    MODELS = ("dense", "pruned")

    vocabulary: TrimmingCost | None = None
    constant: ConstantBaseline


class TorchDifference(Stored):
    """The differences of the exported file's logits to torch's, relative to the largest logit."""

    verified_rows: Count
    max_relative_error: RelativeError
    tolerance: float
    split_relative_error: RelativeError
    same_predictions: Share | None


class ExportMetrics(_StoredComparison):
    """The exported file, run by onnxruntime, against the dense model."""

    STAGE = "export"
    FILE = "metrics.json"
    MODELS = ("dense", "exported")

    constant: ConstantBaseline
    torch: TorchDifference
