"""Pretrained encoders and fine-tuned networks as torch modules, from safetensors only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from sdp.compat.transformers import class_of, class_that_ends_with
from sdp.errors import ModelError
from sdp.models.answerer import OUTPUTS, answerer_class
from sdp.models.architectures import find_architecture
from sdp.models.embedder import as_embedder, embedder_class, is_embedder
from sdp.models.head import TRAINED_FOR, read_head
from sdp.models.kept_units import make_smaller, read_kept_units
from sdp.models.layers import prunable_weights
from sdp.models.parts import check_size
from sdp.models.pooling import Pooling
from sdp.models.source import ModelFolder
from sdp.models.unmatched_weights import require_all_weights
from sdp.pipeline.artifacts.kept_units import KeptUnits
from sdp.recipe.benchmark_tasks import ProblemType, has_token_logits

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

# Training, evaluation and export read the logits by name, and other outputs only where they ask for them. A cache
# serves decoders that write texts; feed-forward layers in chunks of tokens take multiples of these alone.
_LOGITS_ALONE: dict[str, Any] = {
    "return_dict": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "use_cache": False,
    "chunk_size_feed_forward": 0,
}


def load_pretrained(
    folder: ModelFolder,
    problem_type: ProblemType,
    label_names: tuple[str, ...],
    device: torch.device,
    *,
    keep_head: bool = False,
    pooling: Pooling | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load an encoder with a head for the task, in float32.

    Args:
        folder: where the weights are.
        problem_type: classification and multi-label give one logit a label, tagging the same for every token,
            regression and ranking a single one, embedding a vector, question answering two for every token.
        label_names: class names in the order of their ids; empty for tasks without classes. Of a new head.
        device: where the model goes.
        keep_head: take the checkpoint's trained head with its class names; otherwise the head is new.
        pooling: of an embedding.
        trust_remote_code: allow code that comes with the model.

    Raises:
        ModelError: config or weights do not form a model for this task, or some of the weights have no place in it.
    """
    labels = label_names or (OUTPUTS if problem_type == "question-answering" else ("score",))
    head: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    model = _load_checked(
        folder,
        problem_type,
        {} if keep_head or pooling is not None else head,
        device,
        keep_head=keep_head,
        pooling=pooling,
        trust_remote_code=trust_remote_code,
    )
    # What pruning would leave out is refused before any training.
    prunable_weights(model)
    return model


def load_classifier(folder: ModelFolder, problem_type: ProblemType, device: torch.device) -> PreTrainedModel:
    """Load a model of any architecture with the trained head of its checkpoint, in float32.

    Args:
        folder: where the weights are.
        problem_type: the kind of task that it was fine-tuned for.
        device: where the model goes.

    Raises:
        ModelError: config or weights do not form a model for this task, or some of the weights have no place in it.
    """
    return _load_checked(folder, problem_type, {}, device, keep_head=True, pooling=None, trust_remote_code=False)


def _load_checked(
    folder: ModelFolder,
    problem_type: ProblemType,
    head: dict[str, Any],
    device: torch.device,
    *,
    keep_head: bool,
    pooling: Pooling | None,
    trust_remote_code: bool,
) -> PreTrainedModel:
    if problem_type != "embedding" and not has_token_logits(problem_type):
        head["problem_type"] = TRAINED_FOR.get(problem_type, "regression")
    check_size(folder)
    try:
        config = _config(folder.path, trust_remote_code=trust_remote_code, **head)
        if pooling is not None:
            as_embedder(config, pooling)
        options = {"config": config, "trust_remote_code": trust_remote_code, "ignore_mismatched_sizes": True}
        cls = _model_class(config, problem_type)
        model, loaded = _load(folder.path, device, cls, **options)
    except Exception as error:  # a wrong value in config.json can cause any exception in transformers
        raise ModelError(f"the model cannot be loaded: {_first_line(error)}", where=str(folder.path)) from None
    require_all_weights(model, loaded, str(folder.path), keep_head=keep_head)
    if not keep_head and pooling is None and read_head(folder) is not None:
        _renew_head(model)
    odd = next((name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())), None)
    if odd is not None:
        raise ModelError("the weights are no finite numbers", where=f"{folder.path}: {odd}")
    return model


def _renew_head(model: PreTrainedModel) -> None:
    """Put the random weights of a new model into all that is not the base model: no trained head is left in it."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    fresh = type(model)(model.config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if id(parameter) not in inside:
                parameter.copy_(fresh.get_parameter(name))


def load_finetuned(path: Path, device: torch.device | None = None) -> PreTrainedModel:
    """Load what a training stage saved, onto a device (the CPU without one).

    Raises:
        ModelError: the files are damaged.
    """
    try:
        config = _config(path)
        smaller, cls, place = read_kept_units(path), _saved_class(config), device or torch.device("cpu")
        if smaller is not None:
            whole = cls if isinstance(cls, type) and issubclass(cls, PreTrainedModel) else class_of(cls, config)
            return _load_smaller(path, place, smaller, config, whole)
        return _load(path, place, cls, config=config)[0]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        hint = "Delete the stage's folder: the same command makes it again."
        raise ModelError(f"the model cannot be loaded: {_first_line(error)}", where=str(path), hint=hint) from None


def _config(path: Path, **values: Any) -> PreTrainedConfig:
    """The configuration of a folder, without what it asks for besides logits."""
    config: PreTrainedConfig = AutoConfig.from_pretrained(path, **values)
    row = find_architecture(config.model_type)
    for name, value in (_LOGITS_ALONE | (row.config if row is not None else {})).items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


def _load(path: Path, device: torch.device, cls: Any, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    model: PreTrainedModel
    model, loaded = cls.from_pretrained(
        path, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
    )
    model.to(device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    return model, loaded


def _saved_class(config: PreTrainedConfig) -> Any:
    """The class, or the auto class, of a model that a training stage saved."""
    saved = (config.architectures or [""])[0]
    if "QuestionAnswering" in saved:
        return _model_class(config, "question-answering")
    return _model_class(config, "tagging" if "TokenClassification" in saved else "classification")


def _model_class(config: PreTrainedConfig, problem_type: ProblemType) -> Any:
    """The class, or the auto class, of a model; that of an embedding is known by its configuration."""
    if is_embedder(config):
        return embedder_class(config)
    if problem_type == "question-answering":
        return answerer_class(config)
    tagger = problem_type == "tagging"
    # optimum's TasksManager knows the model class of a task for every architecture.
    from optimum.exporters.tasks import TasksManager

    return TasksManager.get_model_class_for_task("token-classification" if tagger else "text-classification")


def _load_smaller(
    path: Path, device: torch.device, smaller: KeptUnits, config: PreTrainedConfig, whole: type[PreTrainedModel]
) -> PreTrainedModel:
    """A model from which units were removed: transformers makes it whole, and it is made smaller before its weights."""
    cls = class_that_ends_with(whole, lambda model: make_smaller(model, smaller, path))
    model: PreTrainedModel
    model, loaded = cls.from_pretrained(
        path, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    model.__class__ = whole
    if other := {*loaded["missing_keys"], *loaded["unexpected_keys"]}:
        raise ValueError(f"{min(other)} does not fit the units that are left")
    model.to(device)  # type: ignore[arg-type]  # transformers' wrapper hides the signature
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def plain_forward(model: PreTrainedModel, inputs: Mapping[str, Tensor], **options: Any) -> Any:
    """Call the forward of the model's class.

    Accelerate puts an autocast around the forward of a model that is trained in bf16, and leaves it there.

    Args:
        model: in training or not.
        inputs: what its tokenizer makes, each [B, L].
        options: other arguments of its forward.

    Returns:
        the model's output.
    """
    return type(model).forward(model, **inputs, **options)
