"""The stored form of an interval, or of the reason why a value is undefined."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from sdp.pipeline.artifacts.base import Stored
from sdp_onnx.bench.interval import Interval, Undefined


class _IntervalForm(Stored):
    """Three numbers, or none of them and a reason."""

    value: float | None
    low: float | None
    high: float | None
    undefined: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        known = [number is not None for number in (self.value, self.low, self.high)]
        if any(known) is not all(known) or all(known) is bool(self.undefined):
            raise ValueError("either value, low and high are numbers, or they are null with a reason")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the interval begins at {self.low:g} and ends at {self.high:g}")
        return self


class _AsStored:
    """Defines for pydantic how to read and write a `Score`."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            _interval,
            handler.generate_schema(_IntervalForm),
            serialization=core_schema.plain_serializer_function_ser_schema(_json),
        )


def _interval(content: object, form: core_schema.ValidatorFunctionWrapHandler) -> Interval | Undefined:
    if isinstance(content, Interval | Undefined):
        return content
    read: _IntervalForm = form(content)
    if read.value is None or read.low is None or read.high is None:
        return Undefined(read.undefined)
    return Interval(read.value, read.low, read.high)


def _json(interval: Interval | Undefined) -> dict[str, Any]:
    return interval.to_json()


Score = Annotated[Interval | Undefined, _AsStored()]
"""A score or a difference with its interval; null with a reason where it is undefined."""


def value_of(score: Interval | Undefined) -> float | None:
    """The value; None where it is undefined."""
    return score.value if isinstance(score, Interval) else None
