"""The table of stages in order: the files that each reads, and the settings that change its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sdp.errors import RecipeError
from sdp.recipe.sections import Recipe

MODEL_FILES = ("*.safetensors", "config.json", "tokenizer*")
# Where inputs are is no ingredient: their hashes are, and a moved project is still up to date.
LOCATIONS = {
    "model": {"name", "revision"},
    "data": {"dataset", "revision", "train", "dev", "test", "unlabeled"},
    "vocabulary": {"corpus"},
    "prune": {"start", "teacher"},
}
TRAINING_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers")
ONNX_LIBRARIES = ("onnx", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True)
class Stage:
    """One row of the pipeline.

    Attributes:
        name: the stage, and the command that brings it up to date.
        folder: its place in the run folder.
        module: where its `run` is.
        sections: the recipe's sections that change its result.
        model: whether it reads the pretrained model.
        data: whether it reads the task's data.
        corpus: whether it reads the files of [vocabulary].
        unlabeled: whether it reads the files of data.unlabeled.
        start: whether it reads the finished pruning that the recipe goes on from, if it names one.
        teacher: whether it reads the other network that prune.teacher names, if it names one.
        reads: earlier stage -> patterns of the files it reads there, where the recipe has that stage.
        libraries: distributions whose version changes its result.
        operators: whether the operator library, or its absence, changes its result.
        publish: files that are also placed at the top of the run folder, where they are easy to find.
        resumes: whether an interrupted attempt is taken up; the others take seconds to minutes and start from nothing.
        ranks: whether it trains: all processes that torchrun started work on it, not the first alone.
        after_pass: whether it runs only after the verdict "pass", and its folder is removed after another verdict.
    """

    name: str
    folder: str
    module: str
    sections: tuple[str, ...]
    model: bool = False
    data: bool = False
    corpus: bool = False
    unlabeled: bool = False
    start: bool = False
    teacher: bool = False
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    operators: bool = False
    publish: tuple[str, ...] = ()
    resumes: bool = False
    ranks: bool = False
    after_pass: bool = False


# Before all others, in recipes that have [vocabulary].
VOCABULARY = Stage(
    name="vocabulary",
    folder="0-vocabulary",
    module="sdp.stages.vocabulary",
    sections=("model", "vocabulary", "task", "data"),
    model=True,
    data=True,
    corpus=True,
    libraries=("tokenizers", "transformers"),
)
# Before the first stage that trains, while one is to come; see `sdp.preflight`.
PREFLIGHT = Stage(
    name="preflight",
    folder="0-preflight",
    module="sdp.stages.preflight",
    sections=("model", "task", "data", "finetune", "prune", "analysis", "evaluate", "export", "bench"),
    model=True,
    data=True,
    teacher=True,
    reads={"vocabulary": MODEL_FILES},
    libraries=(*TRAINING_LIBRARIES, *ONNX_LIBRARIES, "onnxscript"),
    operators=True,
)
STAGES = (
    Stage(
        name="finetune",
        folder="1-finetune",
        module="sdp.stages.finetune",
        sections=("model", "task", "data", "finetune"),
        model=True,
        data=True,
        reads={"vocabulary": MODEL_FILES},
        libraries=TRAINING_LIBRARIES,
        resumes=True,
        ranks=True,
    ),
    Stage(
        name="prune",
        folder="2-prune",
        module="sdp.stages.prune",
        sections=("task", "data", "prune", "analysis"),
        data=True,
        unlabeled=True,
        start=True,
        teacher=True,
        reads={"finetune": MODEL_FILES},
        libraries=TRAINING_LIBRARIES,
        resumes=True,
        ranks=True,
    ),
    Stage(
        name="evaluate",
        folder="3-evaluate",
        module="sdp.stages.evaluate",
        sections=("task", "data", "prune", "evaluate"),
        data=True,
        reads={"vocabulary": ("old_ids.json",), "finetune": MODEL_FILES, "prune": MODEL_FILES},
        libraries=(*TRAINING_LIBRARIES, "scikit-learn", "scipy"),
        resumes=True,
    ),
    Stage(
        name="export",
        folder="4-export",
        module="sdp.stages.export",
        sections=("task", "data", "prune", "evaluate", "export"),
        data=True,
        reads={"prune": MODEL_FILES, "evaluate": ("*.safetensors", "metrics.json")},
        libraries=(*TRAINING_LIBRARIES, *ONNX_LIBRARIES, "onnxscript"),
        operators=True,
        resumes=True,
    ),
    Stage(
        name="bench",
        folder="5-bench",
        module="sdp.stages.bench",
        sections=("task", "data", "evaluate", "bench"),
        data=True,
        reads={
            "finetune": MODEL_FILES,
            "evaluate": ("*.safetensors",),
            "export": ("model.onnx*", "tokenizer*"),
        },
        libraries=(*ONNX_LIBRARIES, "torch", "onnxscript"),
        operators=True,
    ),
    Stage(
        name="gate",
        folder="6-gate",
        module="sdp.stages.gate",
        sections=("gate",),
        reads={"evaluate": ("metrics.json",), "export": ("metrics.json",), "bench": ("latency.json",)},
    ),
    Stage(
        name="report",
        folder="7-report",
        module="sdp.stages.report",
        sections=("task", "prune", "gate"),
        reads={
            "vocabulary": ("vocabulary.json",),
            "finetune": ("metrics.json",),
            "prune": (
                "metrics.json",
                "pruning.jsonl",
                "analysis.json",
                "allocation.json",
                "kept_units.json",
                "unit_times.json",
            ),
            "evaluate": ("metrics.json", "flips.csv"),
            "export": ("metrics.json", "manifest.json"),
            "bench": ("latency.json",),
            "gate": ("verdict.json",),
        },
        libraries=("matplotlib",),
        publish=("report.html",),
    ),
    Stage(
        name="ship",
        folder="8-ship",
        module="sdp.stages.ship",
        sections=("model", "task", "data", "ship"),
        model=True,
        reads={
            "vocabulary": ("vocabulary.json",),
            "prune": ("metrics.json",),
            "evaluate": ("metrics.json",),
            "export": ("*",),
            "bench": ("latency.json",),
            "gate": ("verdict.json",),
        },
        libraries=(*ONNX_LIBRARIES, "tokenizers", "huggingface_hub"),
        after_pass=True,
    ),
)
FINETUNE, PRUNE, EVALUATE, EXPORT, BENCH, GATE, REPORT, SHIP = STAGES


def find_stage(name: str) -> Stage:
    """Return the stage with this name."""
    return next(stage for stage in (VOCABULARY, PREFLIGHT, *STAGES) if stage.name == name)


def stages_of(recipe: Recipe, until: str | None = None) -> tuple[Stage, ...]:
    """Return the stages of a recipe in order, up to one of them. The preflight is included only if it is the last.

    Raises:
        RecipeError: the recipe has no such stage.
    """
    stages = STAGES if recipe.vocabulary is None else (VOCABULARY, *STAGES)
    if until is None:
        return stages
    if until == PREFLIGHT.name:
        return (*(stage for stage in stages if stage is VOCABULARY), PREFLIGHT)
    names = [stage.name for stage in stages]
    if until not in names:
        hint = f"Add [{until}] with a size, or set it: --set {until}.size=24000."
        raise RecipeError(f"the recipe has no [{until}]", where=recipe.name, hint=hint)
    return stages[: names.index(until) + 1]


def resolved_settings(recipe: Recipe, stages: Iterable[Stage]) -> dict[str, Any]:
    """Return the settings that decide the result of some stages, by section: every default as a value, no paths.

    Args:
        recipe: the recipe, which has these stages.
        stages: the stages.
    """
    settings = {
        name: {
            key: value for key, value in getattr(recipe, name).resolved().items() if key not in LOCATIONS.get(name, ())
        }
        for name in _sections(stages)
    }
    _add_from_bench(settings, recipe)
    return settings


def settings_of(recipe: Recipe, stages: Iterable[Stage], *, defaults: bool = True) -> dict[str, Any]:
    """The settings that decide the result of some stages, by section, as a recipe has them, without places.

    Args:
        recipe: the recipe, which has these stages.
        stages: the stages.
        defaults: also those that have their default.
    """
    settings = {
        name: getattr(recipe, name).model_dump(mode="json", exclude=LOCATIONS.get(name), exclude_defaults=not defaults)
        for name in _sections(stages)
    }
    _add_from_bench(settings, recipe)
    return settings


def _add_from_bench(settings: dict[str, dict[str, Any]], recipe: Recipe) -> None:
    """Add what decides a result and is of another section: what prune.target_speedup is timed with, and where a file
    in fp16 is scored."""
    bench, provider = recipe.bench, {} if recipe.bench.provider == "cpu" else {"provider": recipe.bench.provider}
    if "prune" in settings and recipe.prune.target_speedup is not None:
        settings["prune"]["timed"] = {
            "precision": recipe.export.precision,
            "batch_size": bench.batch_sizes[0],
            "sequence_length": bench.sequence_lengths[0],
            "threads": bench.thread_counts[0],
            **provider,
        }
    if "export" in settings and recipe.export_provider != "cpu":
        settings["export"] |= provider


def _sections(stages: Iterable[Stage]) -> dict[str, None]:
    return dict.fromkeys(section for stage in stages for section in stage.sections)
