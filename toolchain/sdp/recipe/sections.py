"""The content of a recipe: one frozen pydantic model for each section; long sections have their own modules.

The defaults here are the only defaults: stages read attributes and have no fallbacks. Every field has a description,
which `sdp schema` prints for editors.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from sdp.recipe.base import Section, TrainingSection
from sdp.recipe.bench import BenchSection
from sdp.recipe.benchmark_tasks import has_token_logits
from sdp.recipe.data import DataSection
from sdp.recipe.export import ExportSection
from sdp.recipe.gate import GateSection
from sdp.recipe.losses import RepresentationLoss
from sdp.recipe.pruning import AnalysisSection, PruneSection
from sdp.recipe.task import TaskSection
from sdp.recipe.vocabulary import VocabularySection
from sdp_onnx.runtimes.base import Provider

SHORTEST_WINDOW = 32
"""Fewest tokens that a question and a part of its context are read in."""

Tracker = Literal["tensorboard", "wandb", "mlflow"]
"""What can follow a training; the names of packages."""


class ModelSection(Section):
    """The pretrained encoder to start from."""

    name: str = Field(min_length=1)
    """A hub id, a folder (relative to the recipe), or "package:NAME/FOLDER" for weights inside an installed package."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's main branch without it."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off, because such code can do anything."""
    head: Literal["auto", "new"] = "auto"
    """auto: the trained head of a model that is already fine-tuned, whose classes are matched to the data's by name and
    keep their order; other classes than the data's are an error. A model without one gets a new head. new: a new head
    in any case."""


class FinetuneSection(TrainingSection):
    """Dense fine-tuning: its result is the baseline and the teacher."""

    epochs: float | None = Field(default=None, ge=0)
    """Passes over the training rows; without it and `steps` 3, or as many as take 500 steps if that is more. 0 takes a
    model that is already fine-tuned for the task as it is, bit for bit."""

    @property
    def least_steps(self) -> int:
        """Fewer leave a new head half trained."""
        return 500


class EvaluateSection(Section):
    """How the fine-tuned, pruned and exported models are compared."""

    split: Literal["test", "dev"] | None = None
    """The split to evaluate on; test where the data has one, dev otherwise."""
    batch_size: int = Field(default=64, gt=0)
    """Rows in one forward pass."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples behind every interval."""


class ShipSection(Section):
    """What the model card states. A change trains nothing anew."""

    license: str | None = Field(default=None, min_length=1)
    """Licence of the shipped model, as model cards name it (apache-2.0, mit, cc-by-nc-4.0, other); without it the
    licence in the README.md of the pretrained model, if it has one."""
    data_license: str | None = Field(default=None, min_length=1)
    """Licence of the data; without it the one in the README.md of a local data set folder."""
    intended_use: str | None = Field(default=None, min_length=1)
    """What the model is for and what it is not for, in your words, for the model card."""


class RuntimeSection(Section):
    """Where and how the work is done. Nothing here makes a finished stage out of date."""

    preflight: bool = True
    """Before the first training step, run all stages with a few rows and layers: errors occur in seconds instead of
    hours. false skips it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is a GPU, the CPU otherwise. cuda without a usable GPU is an error."""
    threads: int | None = Field(default=None, gt=0, le=1024)
    """Threads of one operator in torch, and in onnxruntime outside of the benchmark. Without it the libraries decide,
    mostly one thread a core. On a shared machine take fewer: an operator waits for its slowest thread, and two threads
    of which one shares its core can be ten times slower than one. Under torchrun the number counts for each process.
    Another number changes the order of sums: results differ in their last digits."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Training writes a checkpoint this often; a killed run loses at most this much work."""
    teacher_cache_gb: float = Field(default=4.0, ge=0)
    """Largest size, in GB on the disk, of the teacher's outputs for every token of the training rows, where a loss
    reads them. Beyond it, and under torchrun, the teacher runs beside the student at every step, which takes a third
    more time; 0: always."""
    report_to: tuple[Tracker, ...] = ()
    """Trackers that follow the trainings, of [finetune] and of [prune] each as a run of its own. tensorboard writes to
    the folder tensorboard in the run folder; wandb and mlflow take their settings from environment variables, such as
    WANDB_PROJECT, WANDB_MODE, MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME. Their packages are in the extra
    trackers."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun. ddp: every process has the whole model, and a part of each batch. fsdp: weights, gradients and
    optimizer state are shared out as well (FSDP2), for models that fill the memory; with the criteria that need weights
    alone, and without [analysis]."""
    accumulation: int = Field(default=1, gt=0)
    """Number of parts in which each batch is computed, one after another: less memory, one more forward pass. Every
    loss uses the whole batch, also if it is no mean over rows; the result differs only in the draws of dropout."""
    checkpointing: bool = False
    """Keep only each layer's inputs for the backward pass, and compute the rest again: less memory, the same result,
    about a third more time."""


class Recipe(Section):
    """One model's pipeline, fully resolved: `extends` merged, overrides applied, paths made absolute."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the recipe and of its run folder."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of everything random: classifier weights, order of rows, dropout, bootstrap."""
    model: ModelSection
    vocabulary: VocabularySection | None = None
    """Trims the vocabulary before fine-tuning; without it, every piece stays."""
    task: TaskSection
    data: DataSection = DataSection()
    finetune: FinetuneSection = FinetuneSection()
    prune: PruneSection = PruneSection()
    analysis: AnalysisSection = AnalysisSection()
    evaluate: EvaluateSection = EvaluateSection()
    export: ExportSection = ExportSection()
    bench: BenchSection = BenchSection()
    gate: GateSection = GateSection()
    ship: ShipSection = ShipSection()
    runtime: RuntimeSection = RuntimeSection()

    @model_validator(mode="after")
    def _tokens_are_not_pooled(self) -> Recipe:
        kind = self.task.problem_type
        for loss in self.prune.losses if has_token_logits(kind) else ():
            if isinstance(loss, RepresentationLoss) and loss.representation == "pooled":
                raise ValueError(f'a {kind} task has no pooled representation; give the loss {loss.name} "tokens"')
        return self

    @model_validator(mode="after")
    def _windows_share_less_than_half(self) -> Recipe:
        data = self.data
        if self.task.problem_type != "question-answering":
            if data.stride is not None:
                raise ValueError(f"data.stride is of question answering, and this task is {self.task.problem_type}")
            return self
        if data.max_length < SHORTEST_WINDOW:
            raise ValueError(f"data.max_length = {data.max_length}: a window has {SHORTEST_WINDOW} tokens or more")
        if data.shared_tokens >= data.max_length // 2:
            raise ValueError(f"data.stride = {data.stride} is not less than half of data.max_length, {data.max_length}")
        return self

    @model_validator(mode="after")
    def _embeddings_have_no_labels(self) -> Recipe:
        if self.task.problem_type != "embedding":
            return self
        if self.finetune.trains:
            raise ValueError("an embedding is taken as it is: set finetune.epochs = 0")
        if self.prune.learns_labels:
            raise ValueError("an embedding learns from its unpruned self: remove prune.labels")
        if self.prune.teacher is not None:
            raise ValueError("an embedding learns from its unpruned self: remove prune.teacher")
        for loss in self.prune.losses:
            if loss.reads == "logits" or (isinstance(loss, RepresentationLoss) and loss.representation == "pooled"):
                raise ValueError(
                    f'an embedding has no classifier: give the loss {loss.name} other rows, such as "mean"'
                )
        return self

    @model_validator(mode="after")
    def _unlabeled_rows_teach(self) -> Recipe:
        key = "data.unlabeled" if self.data.unlabeled is not None else "prune.augment" if self.prune.augment else ""
        if key and not any(loss.reads in ("logits", "rows") for loss in self.prune.losses):
            raise ValueError(f"{key} needs a loss in prune.losses that compares outputs with the teacher's")
        return self

    @model_validator(mode="after")
    def _target_is_of_the_library(self) -> Recipe:
        # A network with fewer heads and neurons is faster without it.
        if self.prune.target_speedup is None or self.prune.structured:
            return self
        if self.bench.provider != "cpu":
            raise ValueError(
                'prune.target_speedup is of the operator library on the CPU; set bench.provider = "cpu", or '
                'prune.pattern = "structured"'
            )
        if not self.export.may_use_library:
            precision, encoding = self.export.precision, self.export.encoding
            key, value = ("precision", precision) if precision == "fp16" else ("encoding", encoding)
            raise ValueError(
                f'prune.target_speedup needs the operator library, and export.{key} = "{value}" has none; '
                'prune.pattern = "structured" needs none'
            )
        return self

    @property
    def inputs_per_row(self) -> int:
        """Inputs that the network gets for a row: of an embedding one for each text, without windows of a context."""
        return len(self.data.text or ("",)) if self.task.problem_type == "embedding" else 1

    @property
    def times_operators(self) -> bool:
        """Whether prune.target_speedup is measured with the operator library."""
        return self.prune.target_speedup is not None and (not self.prune.structured or self.export.precision == "int8")

    @property
    def export_provider(self) -> Provider:
        """Where the exported file is compared with torch, and scored: only a GPU computes in fp16."""
        return self.bench.provider if self.export.precision == "fp16" else "cpu"

    @model_validator(mode="after")
    def _int8_is_trained_for_int8(self) -> Recipe:
        if self.prune.quantization_aware > 0 and self.export.precision != "int8":
            raise ValueError(
                'prune.quantization_aware trains for export.precision = "int8", and this recipe exports '
                f"{self.export.precision}; set that, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _a_new_head_is_trained(self) -> Recipe:
        if not self.finetune.trains and self.model.head == "new":
            raise ValueError('finetune.epochs = 0 leaves the model as it is, and model.head = "new" needs training')
        return self

    @model_validator(mode="after")
    def _only_classes_can_be_the_same(self) -> Recipe:
        if self.gate.min_same_predictions is not None and self.task.has_no_classes:
            raise ValueError(
                f"gate.min_same_predictions counts classes, and this task is {self.task.problem_type}; "
                "gate.max_relative_error fits"
            )
        return self

    @model_validator(mode="after")
    def _only_classes_lose_one_by_one(self) -> Recipe:
        if self.gate.max_class_drop is not None and self.task.has_no_classes:
            raise ValueError(
                f"gate.max_class_drop is of classes, and this task is {self.task.problem_type}; "
                "gate.max_metric_drop fits"
            )
        return self

    @model_validator(mode="after")
    def _data_complete(self) -> Recipe:
        data, known = self.data, self.task.name is not None
        if data.docstrings is not None:
            if self.task.problem_type != "classification":
                raise ValueError("data.docstrings is a classification source; task.type does not fit")
            return self
        needed = ("train", "dev", "text", "label", *(("group",) if self.task.problem_type == "ranking" else ()))
        missing = [key for key in needed if not known and getattr(data, key) is None]
        if missing:
            keys = ", ".join(f"data.{key}" for key in missing)
            raise ValueError(f"a task of one's own needs {keys} (or data.docstrings, or a known task.name)")
        return self

    @model_validator(mode="after")
    def _columns_fit(self) -> Recipe:
        kind, columns = self.task.problem_type, len(self.data.text or ())
        if kind == "question-answering" and columns not in (0, 2):
            raise ValueError(f"question answering reads questions and contexts, and data.text names {columns} columns")
        if kind == "tagging" and columns > 1:
            raise ValueError(f"tagging reads one column of words, and data.text names {columns}")
        if kind != "multi-label" and isinstance(self.data.label, tuple):
            raise ValueError(f"a {kind} task has one label column, and data.label is a list; multi-label takes several")
        if isinstance(self.data.label, tuple) and len(set(self.data.label)) < max(2, len(self.data.label)):
            raise ValueError("data.label, as a list, names two columns or more, each once")
        if kind != "ranking" and self.data.group is not None:
            raise ValueError(f"data.group forms the lists of a ranking, and this task is {kind}")
        return self

    @model_validator(mode="after")
    def _training_language_is_true(self) -> Recipe:
        """Require English: a known data set with one training split has it in English."""
        task, data = self.task.known, self.data
        if task is None or "{language}" in f"{task.config}{task.train}" or data.train or data.dataset or data.config:
            return self
        if self.task.train_languages != ("en",):
            raise ValueError(f"task.train_languages: the training rows of {task.name} are in English alone")
        return self
