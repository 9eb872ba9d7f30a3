"""The base class of sections, and the settings that both training stages share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class TrainingSection(Section):
    """Settings shared by the two training stages."""

    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training rows."""
    learning_rate: float = Field(default=5e-5, gt=0, lt=1)
    """Peak of the linear schedule with warm-up."""
    batch_size: int = Field(default=32, gt=0)
    """Rows in one optimizer step, of all processes and devices together."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Decoupled weight decay of AdamW."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Precision of matrix products in training; weights and losses stay float32. auto: bf16 on CUDA, fp32 on the CPU,
    where bf16 is two to three times as fast with instructions for it (AVX512-BF16, AMX), and very slow without."""
