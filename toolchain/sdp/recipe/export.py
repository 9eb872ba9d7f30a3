"""The recipe's [export]: how the pruned model becomes an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from sdp.recipe.base import Section


class ExportSection(Section):
    """How the pruned model becomes an ONNX file."""

    filled_in: ClassVar[Mapping[str, str]] = {"tolerance": "allowed_error"}

    encoding: Literal["auto", "kernel", "coo", "dense"] = "auto"
    """kernel: sparse layers run by the operator library, which is exported with the model; coo: onnx
    sparse_initializer, for plain onnxruntime, smaller and not faster; dense: as exported; auto: kernel where the
    library is installed and the model sparse enough to gain, otherwise whatever is smallest for each tensor."""
    opset: int = Field(default=23, ge=23, le=25)
    """ONNX operator set that torch exports for; from 23 on attention is one standard operator. The file declares the
    lowest one that it needs: with the operator library 17 to 20 (onnxruntime 1.17), otherwise this (23: 1.23)."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """int8: linear layers multiplied and embeddings stored in int8, by the operator library; nothing to calibrate. Made
    for prune.pattern = "1x4". fp16: half of the bytes, in onnxruntime's own operators, for GPUs; CPUs compute such a
    file in fp32 and convert in between."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest allowed difference of logits to torch's, which rounds as the file does, relative to the largest logit;
    without it 1e-4, in fp16 0.02, in int8 0.2."""
    external_data_mb: int = Field(default=1900, gt=0)
    """Weights above this size go to model.onnx.data beside the file (the limit of a protobuf file is 2 GiB)."""

    @model_validator(mode="after")
    def _encoding_has_the_precision(self) -> Self:
        if self.precision == "int8" and not self.may_use_library:
            raise ValueError(
                f'precision = "int8" needs the operator library, and encoding = "{self.encoding}" has none'
            )
        if self.precision == "fp16" and self.encoding == "kernel":
            raise ValueError(
                'the operator library computes in fp32 and int8; with precision = "fp16" set encoding to "auto", '
                '"coo" or "dense"'
            )
        return self

    @property
    def may_use_library(self) -> bool:
        """Whether the file uses the operator library where it is installed and the model gains from it."""
        return self.encoding == "kernel" or (self.encoding == "auto" and self.precision != "fp16")

    @property
    def kernel_precision(self) -> Literal["fp32", "int8"]:
        """The arithmetic of the operator library's products, in a file that has some."""
        return "int8" if self.precision == "int8" else "fp32"

    @property
    def allowed_error(self) -> float:
        """The tolerance, or the default of the precision."""
        defaults = {"fp32": 1e-4, "fp16": 0.02, "int8": 0.2}
        return self.tolerance if self.tolerance is not None else defaults[self.precision]
