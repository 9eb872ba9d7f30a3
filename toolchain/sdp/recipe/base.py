"""The base class of sections, and the settings that both training stages share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    filled_in: ClassVar[Mapping[str, str]] = {}
    """Keys -> the property that has their value: where a recipe leaves them open, or another key makes them void."""

    def resolved(self) -> dict[str, Any]:
        """The settings as JSON types, every default as a value, whatever it comes from; then all other properties.

        That properties are in it keeps a default from hiding in one.
        """
        sections = [base for base in type(self).__mro__ if issubclass(base, Section)]
        properties = {name for base in sections for name, value in vars(base).items() if isinstance(value, property)}
        names = {key: self.filled_in.get(key, key) for key in type(self).model_fields}
        names |= {name: name for name in sorted(properties - set(names.values()))}
        return {key: _resolved(getattr(self, name)) for key, name in names.items()}


def _resolved(value: object) -> Any:
    if isinstance(value, Section):
        return value.resolved()
    return [_resolved(one) for one in value] if isinstance(value, list | tuple) else to_jsonable_python(value)


Rate = Annotated[float, Field(ge=0, lt=1)]


class TrainingSection(Section):
    """Settings shared by the two training stages."""

    filled_in: ClassVar[Mapping[str, str]] = {"epochs": "counted_epochs"}

    epochs: float | None = Field(default=None, ge=0)
    """Passes over the training rows."""
    steps: int | None = Field(default=None, ge=0)
    """Optimizer steps, in place of `epochs`; 0 is the same as 0 epochs."""
    learning_rate: float = Field(default=5e-5, gt=0, lt=1)
    """Peak of the schedule: a linear warm-up, a constant part, and a linear fall to 0."""
    batch_size: int = Field(default=32, gt=0)
    """Rows in one optimizer step, of all processes and devices together."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Decoupled weight decay of AdamW."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    decay: float = Field(default=1.0, gt=0, le=1)
    """Share of the steps, at the end, in which the learning rate falls. 1: it falls from the warm-up on."""
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    """Decay rates of AdamW's running means of the gradients and of their squares."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of matrix products in training; weights and losses stay float32. auto: bf16 on CUDA, and on a CPU with
    instructions for it (AVX512-BF16, AMX), where it is faster than fp32; fp32 on others."""

    @property
    def trains(self) -> bool:
        """Whether the stage takes any step."""
        return self.epochs != 0 if self.steps is None else self.steps != 0

    @property
    def counted_epochs(self) -> float | None:
        """epochs, where they count: `steps` stand in place of them."""
        return self.epochs if self.steps is None else None

    @property
    def least_steps(self) -> int:
        """Optimizer steps that are taken at least where neither epochs nor steps are set."""
        return 1

    @model_validator(mode="after")
    def _none_or_some(self) -> Self:
        if self.epochs == 0 and self.trains:
            raise ValueError("epochs = 0 trains nothing, and steps asks for training; remove one of them")
        return self
