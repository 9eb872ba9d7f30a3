"""The facts that `sdp check` collects before anything runs, and the findings that it derives from them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdp.data.profile import DataProfile
from sdp.recipe.sections import Recipe
from sdp.training.bf16 import cpu_has_bf16
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.environment import machine_record


@dataclass(frozen=True)
class Finding:
    """One finding on a recipe.

    Attributes:
        kind: "warning": something will fail, or waste hours; "note": information.
        subject: the key of the recipe.
        sentence: the finding with its reason.
        what_would: a change that would help; empty where there is none.
    """

    kind: Literal["warning", "note"]
    subject: str
    sentence: str
    what_would: str = ""


@dataclass(frozen=True)
class Machine:
    """Properties of the machine that `sdp check` runs on.

    Attributes:
        cores: CPU cores that this process may use.
        memory_bytes: main memory; None where unknown.
        bf16: whether the CPU has instructions for bfloat16.
        gpu: whether an NVIDIA GPU is likely: the driver's nvidia-smi is installed.
        library: whether this installation has the operator library.
    """

    cores: int
    memory_bytes: int | None
    bf16: bool
    gpu: bool
    library: bool


@dataclass(frozen=True)
class TeacherFacts:
    """The other network that the recipe learns from (`prune.teacher`).

    Attributes:
        title: its name for readers.
        model_type: its kind, as its config.json names it.
        layers: number of its layers; None where config.json has no number.
        width: features of a token; None likewise.
        parameters: all of them.
        computing: those outside of the embeddings.
    """

    title: str
    model_type: str
    layers: int | None
    width: int | None
    parameters: int
    computing: int


@dataclass(frozen=True)
class Facts:
    """Facts about recipe, machine, model and data; None where model or data are not on this machine.

    Attributes:
        recipe: the recipe.
        machine: this machine.
        rows: split -> number of rows.
        bytes_pretrained: bytes of the pretrained model as dense float32.
        bytes_dense: the same after [vocabulary]: the file that the exported one is compared with.
        bytes_after: part -> predicted bytes in the exported file.
        prunable: linear weights of the encoder, the parameters that pruning may remove.
        parameters: all parameters, after [vocabulary].
        model_type: the kind of model, as its config.json names it.
        hidden_size: width of the encoder.
        layers: number of the encoder's layers.
        profile: statistics of the data's rows.
        lengths: tokens of sampled training rows, int64 [n], not truncated; of an embedding of their texts.
        windows: windows in which a context is read, the mean of sampled training rows; 1 but in question answering.
        positions: longest input of the model; also None without a limit.
        corpus: texts by language in the corpus of [vocabulary]; empty without that section.
        unlabeled: rows without labels, of data.unlabeled and those that are made.
        teacher: the other network to learn from; also None where the recipe names none.
    """

    recipe: Recipe
    machine: Machine
    rows: Mapping[str, int | None]
    bytes_pretrained: int | None = None
    bytes_dense: int | None = None
    bytes_after: Mapping[str, int] | None = None
    prunable: int | None = None
    parameters: int | None = None
    model_type: str | None = None
    hidden_size: int | None = None
    layers: int | None = None
    profile: DataProfile | None = None
    lengths: NDArray[np.int64] | None = None
    windows: float = 1.0
    positions: int | None = None
    corpus: Mapping[str, int] = field(default_factory=dict)
    unlabeled: int = 0
    teacher: TeacherFacts | None = None

    @property
    def size_ratio(self) -> float | None:
        """Predicted bytes of the exported weights as a share of the dense ones with the same vocabulary."""
        if self.bytes_dense is None or self.bytes_after is None:
            return None
        return sum(self.bytes_after.values()) / max(1, self.bytes_dense)

    @property
    def inputs_per_row(self) -> float:
        """Inputs that the network gets for a row."""
        return self.recipe.inputs_per_row * self.windows

    @property
    def train_inputs(self) -> int | None:
        """Inputs of the training rows."""
        rows = self.rows.get("train")
        return None if rows is None else round(rows * self.inputs_per_row)


def this_machine() -> Machine:
    """Return the properties of this machine."""
    record = machine_record()
    memory, quota = record["memory_bytes"], record["cpu_quota"]
    cores = next((n for n in (record["allowed_cores"], record["logical_cores"]) if isinstance(n, int)), 1)
    return Machine(
        cores=min(cores, ceil(quota)) if isinstance(quota, float) else cores,
        memory_bytes=memory if isinstance(memory, int) else None,
        bf16=cpu_has_bf16(),
        gpu=shutil.which("nvidia-smi") is not None,
        library=has_library(),
    )
