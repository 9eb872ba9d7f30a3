"""What a recipe may say: one frozen pydantic model for each section of the TOML file.

The defaults here are the only defaults; stages read attributes and never fall back on their own. Every field has a
description, which `sdp schema` hands to editors.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from sdp.recipe.analysis import AnalysisSection
from sdp.recipe.base import Section, TrainingSection
from sdp.recipe.losses import RepresentationLoss
from sdp.recipe.pruning import PruneSection
from sdp.recipe.vocabulary import VocabularySection
from sdp.tasks import TASKS, MetricName, ProblemType, Task, find_task

__all__ = ["METRICS_BY_TYPE", "MetricName", "ProblemType", "Recipe"]

METRICS_BY_TYPE: dict[ProblemType, tuple[MetricName, ...]] = {
    "classification": ("accuracy", "f1", "macro-f1", "matthews"),
    "regression": ("pearson", "spearman"),
    "tagging": ("entity-f1", "accuracy"),
    "ranking": ("ndcg",),
}


class ModelSection(Section):
    """The pretrained encoder to start from."""

    name: str = Field(min_length=1)
    """A hub id, a folder (relative to the recipe), or "package:NAME/FOLDER" for weights inside an installed package."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's main branch without it."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Off, because such code can do anything."""


class TaskSection(Section):
    """What is predicted, and how it is scored."""

    name: str | None = None
    """A benchmark task that sdp knows (columns, metric and data set come with it). Without it, give `type`."""
    type: ProblemType | None = None
    """The kind of problem, for a task of one's own."""
    metric: MetricName | None = None
    """How it is scored; without it accuracy, for regression pearson, for tagging entity-f1, for ranking ndcg. f1 is
    that of the second of two classes. A known task's other official metric is reported beside it."""
    train_languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """Languages to train on, where the data's names hold "{language}". Choices are made on their dev rows alone, and
    the other languages' average is the zero-shot one."""
    eval_languages: tuple[str, ...] | Literal["all"] = "all"
    """Languages to evaluate on, where the data's names hold "{language}"; "all" means all that the task lists."""
    subsets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """What "{subset}" stands for in the names of dev and test, each scored by itself; choices are made on the first."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            find_task(name)
        return name

    @model_validator(mode="after")
    def _known_or_described(self) -> TaskSection:
        if self.name is None and self.type is None:
            raise ValueError(f'needs either name (one of {", ".join(sorted(TASKS))}) or type = "classification"')
        if self.name is not None:
            task = find_task(self.name)
            if self.type not in (None, task.type):
                raise ValueError(f'type = "{self.type}" contradicts the task {self.name}, which is {task.type}')
        if self.metric is not None and self.metric not in METRICS_BY_TYPE[self.problem_type]:
            allowed = ", ".join(METRICS_BY_TYPE[self.problem_type])
            raise ValueError(f'metric "{self.metric}" does not fit a {self.problem_type} task; use one of {allowed}')
        for key in ("train_languages", "eval_languages", "subsets"):
            values = getattr(self, key)
            if isinstance(values, tuple) and (not values or "" in values or len(set(values)) < len(values)):
                raise ValueError(f"{key} is empty, or holds an empty name, or one twice")
        if self.eval_languages == "all" and self.name is None and self.train_languages != ("en",):
            raise ValueError('eval_languages = "all" needs a task that lists its languages; name them')
        return self

    @property
    def known(self) -> Task | None:
        """The entry in the table of tasks, or None for a task of one's own."""
        return find_task(self.name) if self.name is not None else None

    @property
    def problem_type(self) -> ProblemType:
        """The kind of problem, from the task where it is a known one."""
        return self.known.type if self.known is not None else self.type or "classification"

    @property
    def score(self) -> MetricName:
        """The metric that counts, with the defaults filled in."""
        if self.metric is not None:
            return self.metric
        return self.known.metrics[0] if self.known is not None else METRICS_BY_TYPE[self.problem_type][0]

    @property
    def also(self) -> tuple[MetricName, ...]:
        """Other official metrics of a known task, reported beside the score."""
        return tuple(metric for metric in (self.known.metrics if self.known else ()) if metric != self.score)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages to evaluate on, with "all" filled in."""
        if self.eval_languages == "all":
            return self.known.languages if self.known is not None else self.train_languages
        return self.eval_languages

    @property
    def subset_names(self) -> tuple[str, ...]:
        """The subsets of dev and test, from the task where the recipe names none."""
        return self.subsets or (self.known.subsets if self.known is not None else ())


class DocstringsSection(Section):
    """Text out of installed Python packages: first sentences of docstrings, labelled with the package they are from."""

    packages: tuple[str, ...] = Field(min_length=2)
    """Import names of installed packages; each is one label. Files are parsed, never imported."""
    train: int = Field(gt=0)
    """Number of training rows, balanced over the packages."""
    dev: int = Field(gt=0)
    """Number of dev rows, balanced over the packages."""
    test: int = Field(default=0, ge=0)
    """Number of test rows, balanced over the packages."""


class DataSection(Section):
    """Where the rows come from: files, a hub data set (or a folder of the same form), or docstrings."""

    dataset: str | None = Field(default=None, min_length=1)
    """A data set's hub id, or a local folder in hub form, relative to the recipe; train, dev, test then name splits."""
    config: str | None = None
    """Configuration of the hub data set; may hold "{language}"."""
    revision: str | None = None
    """Branch, tag or commit of the hub data set."""
    train: str | None = Field(default=None, min_length=1)
    """Training file, relative to the recipe (tsv, csv, jsonl, parquet, also .gz; may hold "{language}"), or split."""
    dev: str | None = Field(default=None, min_length=1)
    """Dev file or split: choices are made on it; may hold "{language}" or "{subset}"."""
    test: str | None = Field(default=None, min_length=1)
    """Test file or split, named as dev: read by the evaluate stage only."""
    text: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=3)
    """The text column, or the two columns of a pair task; a third is joined to the second by a space. For tagging the
    column of words: lists, or strings with spaces between the words."""
    label: str | None = None
    """The label column: strings or integers; numbers for regression and ranking; for tagging a tag for each word."""
    group: str | None = None
    """Ranking: the column whose equal values form one list, such as the query."""
    train_rows: int | None = Field(default=None, gt=0)
    """Train on so many rows at most, drawn once and for all: the same for every seed, and those of a smaller number
    are among those of a larger one."""
    docstrings: DocstringsSection | None = None
    """Docstrings of installed packages in place of files."""
    max_length: int = Field(default=128, ge=8, le=8192)
    """Longest input in tokens; longer ones are cut."""

    @model_validator(mode="after")
    def _one_source(self) -> DataSection:
        if self.docstrings is not None:
            given = [
                key
                for key in ("dataset", "config", "train", "dev", "test", "text", "label", "group", "train_rows")
                if getattr(self, key)
            ]
            if given:
                raise ValueError(f"docstrings is a source of its own; remove {', '.join(given)}")
        if self.config is not None and self.dataset is None and self.docstrings is None:
            raise ValueError("config belongs to dataset, which is not set")
        return self


class FinetuneSection(TrainingSection):
    """Dense fine-tuning: its result is the baseline and the teacher."""


class EvaluateSection(Section):
    """How the fine-tuned, pruned and exported models are compared."""

    split: Literal["test", "dev"] | None = None
    """The split to evaluate on; test where the data has one, dev otherwise."""
    batch_size: int = Field(default=64, gt=0)
    """Rows in one forward pass."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples behind every interval."""


class ExportSection(Section):
    """How the pruned model becomes an ONNX file."""

    encoding: Literal["auto", "kernel", "coo", "dense"] = "auto"
    """kernel: sparse layers run by the operator library, which is exported with the model; coo: onnx
    sparse_initializer, for plain onnxruntime, smaller and not faster; dense: as exported; auto: kernel where the
    library is installed and the model sparse enough to gain, otherwise whatever is smallest for each tensor."""
    opset: int = Field(default=23, ge=23, le=25)
    """ONNX operator set; from 23 on attention is one standard operator."""
    precision: Literal["fp32", "int8"] = "fp32"
    """int8: linear layers multiplied and embeddings stored in int8, by the operator library; nothing to calibrate. Made
    for prune.pattern = "1x4"."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest allowed difference of logits to torch's, relative to the largest logit; without it 1e-4, in int8 0.2."""
    external_data_mb: int = Field(default=1900, gt=0)
    """Weights above this size go to model.onnx.data beside the file (a protobuf ends at 2 GiB)."""

    @model_validator(mode="after")
    def _int8_needs_kernels(self) -> Self:
        if self.precision == "int8" and self.encoding not in ("auto", "kernel"):
            raise ValueError(
                f'precision = "int8" needs the operator library, and encoding = "{self.encoding}" has none'
            )
        return self

    @property
    def allowed_error(self) -> float:
        """The tolerance, or the default of the precision."""
        return self.tolerance if self.tolerance is not None else {"fp32": 1e-4, "int8": 0.2}[self.precision]


class BenchSection(Section):
    """What is measured: the exported file against the dense one, in turns."""

    sequence_lengths: tuple[int | Literal["task"], ...] = Field(default=("task", 128), min_length=1)
    """Input lengths in tokens, filled with real text; "task" keeps each row's own length."""
    batch_sizes: tuple[int, ...] = Field(default=(1,), min_length=1)
    """Rows in one call."""
    threads: int | tuple[int, ...] = 2
    """onnxruntime's intra-op threads; a list measures each."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Execution provider. Asked for cuda and not got it is an error."""
    seconds: float = Field(default=3.0, gt=0)
    """Time for each cell of the grid, all files and starts together."""
    starts: int = Field(default=3, ge=1)
    """How often the files are loaded into new processes; what a start leaves to chance is then in the intervals."""

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

    @property
    def thread_counts(self) -> tuple[int, ...]:
        """The thread counts to measure, as a tuple also where one is given."""
        return (self.threads,) if isinstance(self.threads, int) else self.threads


class GateSection(Section):
    """What a model must reach to ship. A threshold that is left out is not checked; every one is judged with its
    interval, and one that lies inside it is inconclusive."""

    min_metric: float | None = None
    """Lowest metric of the exported file on the evaluation split."""
    max_metric_drop: float | None = Field(default=None, ge=0)
    """Largest loss of the metric against the dense model (0.02 = two points of accuracy)."""
    max_part_drop: float | None = Field(default=None, ge=0)
    """The same for every language or subset by itself, so for the worst; where the data has none, for all of it."""
    max_size_ratio: float | None = Field(default=None, gt=0)
    """Largest size of the exported file, as a share of the dense ONNX file."""
    max_size_mb: float | None = Field(default=None, gt=0)
    """Largest size of the exported file (model.onnx with its data) in MB, 10^6 bytes."""
    min_speedup: float | None = Field(default=None, gt=0)
    """Smallest speed-up against the dense ONNX file, in every cell of the benchmark grid."""
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Largest median time of one call, in every cell of the benchmark grid."""
    max_p99_ms: float | None = Field(default=None, gt=0)
    """Largest 99th percentile of the time of one call, in every cell of the benchmark grid."""
    max_memory_mb: float | None = Field(default=None, gt=0)
    """Largest peak memory of a process that runs the exported file through the benchmark, in MB."""
    min_same_predictions: float | None = Field(default=None, gt=0, le=1)
    """Smallest share of rows (words in tagging) for which the exported file predicts what torch does."""
    max_relative_error: float | None = Field(default=None, ge=0)
    """Largest difference of the exported file's logits to torch's, relative to the largest logit."""
    budget_seconds: float = Field(default=60.0, ge=0)
    """Where speed, latency or memory are inconclusive, measure those cases again for so long; 0 never does."""

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds that are set, by key."""
        return self.model_dump(exclude_none=True, exclude={"budget_seconds"})

    @property
    def measured_again(self) -> bool:
        """Whether any threshold is one that more measurements can decide."""
        keys = (self.min_speedup, self.max_latency_ms, self.max_p99_ms, self.max_memory_mb)
        return self.budget_seconds > 0 and any(key is not None for key in keys)


class ShipSection(Section):
    """What the shipped folder says of itself. Changing it trains nothing anew."""

    license: str | None = Field(default=None, min_length=1)
    """Licence of the shipped model, as model cards name it (apache-2.0, mit, cc-by-nc-4.0, other); without it that of
    the pretrained model, where its README.md tells one."""
    data_license: str | None = Field(default=None, min_length=1)
    """Licence of the data; without it that in the README.md of a local data set folder."""
    intended_use: str | None = Field(default=None, min_length=1)
    """What the model is for and what it is not for, in your words, for the model card."""


class RuntimeSection(Section):
    """Where and how the work is done. Nothing here makes a finished stage out of date."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA with bf16 where there is a GPU, the CPU otherwise. Asked for cuda and not got it is an error."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Training writes a checkpoint this often; a killed run loses at most this much work."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Under torchrun. ddp: every process has the whole model, and a part of each batch. fsdp: weights, gradients and
    optimizer state are shared out as well (FSDP2), for models that fill the memory; with the criteria that need weights
    alone, and without [analysis]."""
    accumulation: int = Field(default=1, gt=0)
    """Compute each batch in so many parts, one after another: less memory, for one forward pass more. The losses see
    the whole batch, also those that are no mean over rows; the result is the same but for other draws of dropout."""
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
    def _taggers_do_not_pool(self) -> Recipe:
        for loss in self.prune.losses if self.task.problem_type == "tagging" else ():
            if isinstance(loss, RepresentationLoss) and loss.representation == "pooled":
                raise ValueError(f'a tagging task has no pooled representation; give the loss {loss.name} "tokens"')
        return self

    @model_validator(mode="after")
    def _only_classes_can_be_the_same(self) -> Recipe:
        if self.gate.min_same_predictions is not None and self.task.problem_type in ("regression", "ranking"):
            raise ValueError(
                f"gate.min_same_predictions counts classes, and this task is {self.task.problem_type}; "
                "gate.max_relative_error fits"
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
        if kind == "tagging" and columns > 1:
            raise ValueError(f"tagging reads one column of words, and data.text names {columns}")
        if kind != "ranking" and self.data.group is not None:
            raise ValueError(f"data.group forms the lists of a ranking, and this task is {kind}")
        return self

    @model_validator(mode="after")
    def _training_language_is_true(self) -> Recipe:
        """A hub data set with one training split has it in English, whatever the recipe says."""
        task, data = self.task.known, self.data
        if task is None or "{language}" in f"{task.config}{task.train}" or data.train or data.dataset or data.config:
            return self
        if self.task.train_languages != ("en",):
            raise ValueError(f"task.train_languages: the training rows of {task.name} are in English alone")
        return self
