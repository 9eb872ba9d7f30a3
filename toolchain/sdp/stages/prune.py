"""Stage 2: prune the fine-tuned network while it learns from its own unpruned self.

With `prune.epochs = 0` nothing is trained (`pruning.one_shot`).

With `prune.start` it starts from a finished pruning: weights, masks and sparsity come from its folder, the teacher is
still the fine-tuned network, and everything else (optimizer, learning rate, order of rows) starts anew.

Writes the pruned model (a transformers folder), masks.safetensors, pruning.jsonl (one line a mask update), metrics.json
and analysis.json (what the masks did to the network, unless the recipe turns that off).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, set_seed

from sdp.data.augment import augmented_rows
from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.rows import TaskData
from sdp.data.rows_on_disk import Joined, Texts
from sdp.data.unlabeled import read_unlabeled
from sdp.distributed.collectives import rank_count, this_rank
from sdp.distributed.sharded import WholeModel, is_sharded
from sdp.errors import StageError
from sdp.losses.needs import live_teacher
from sdp.losses.objective import Objective
from sdp.models.architectures import find_architecture
from sdp.models.int8_network import computing_in_int8
from sdp.models.layers import head_parameters, layer_count, prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import save_tokenizer, saved_tokenizer
from sdp.pipeline.artifacts.base import present
from sdp.pipeline.artifacts.pruning import LayerZeros, MaskUpdate, PruneMetrics, write_updates
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.artifacts.training import LogRecord
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import CACHE, STAGE_FILE, RunFolder
from sdp.pipeline.stages import FINETUNE
from sdp.pruning.analysis.recorder import PruningAnalysis
from sdp.pruning.analysis.stage import start_analysis, write_analysis
from sdp.pruning.criteria import CRITERIA, Setup
from sdp.pruning.distillation import Distillation
from sdp.pruning.mask_updates import MaskUpdates, mask_plan
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import Masks, load_masks, save_masks, sparsity_of
from sdp.pruning.one_shot import prune_at_once
from sdp.pruning.quantization_phase import QuantizationPhase, float_steps
from sdp.pruning.sharded import require_shardable_pruning
from sdp.pruning.start import require_same_teacher
from sdp.pruning.teacher import LiveTeacher, Teacher
from sdp.pruning.teacher_cache import TeacherCache, cached_teacher
from sdp.recipe.sections import Recipe
from sdp.training.device import training_device, trains_in_bf16
from sdp.training.inputs import DevMetric, finetuned_data, tokenize_split, tokenize_texts
from sdp.training.run import TrainingRun, train
from sdp.training.steps import optimizer_steps
from sdp_onnx.deploy.tokenization import TextTokenizer


def run(context: StageContext) -> StageResult:
    """Prune the fine-tuned model; resumes an interrupted attempt."""
    recipe, run, reporter = context.recipe, context.run, context.reporter
    device = training_device(recipe.runtime)
    data = finetuned_data(recipe, run)
    source = run.stage(FINETUNE.folder)
    tokenizer = saved_tokenizer(source)
    collator = Collator(tokenizer)
    rows = tokenize_split(data.train, tokenizer, recipe)
    if more := _unlabeled(recipe, data):
        reporter.line(f"  {len(more):,} rows without labels")
        rows = rows.with_unlabeled(tokenize_texts(more, tokenizer, recipe))
    set_seed(recipe.seed)
    model = load_finetuned(source, device)
    if optimizer_steps(rows.labeled, recipe.prune) == 0:
        if this_rank() > 0:
            return {}
        dense = load_finetuned(source, device)
        masks = prune_at_once(model, dense, rows, collator, recipe.prune, recipe.seed, reporter)
        dev = DevMetric(model, data.development, tokenizer, collator, recipe)
        record: LogRecord = {"step": 0, "epoch": 0.0, "wanted": recipe.prune.sparsity, "sparsity": sparsity_of(masks)}
        return _write(context, model, masks, dev, tokenizer, [record])
    if recipe.prune.freeze_head:
        for parameter in head_parameters(model).values():
            parameter.requires_grad_(False)
    objective = Objective(recipe.task.problem_type, recipe.prune.losses, layer_count(model), labels=recipe.prune.labels)
    if is_sharded(recipe.runtime):
        require_shardable_pruning(recipe.runtime, recipe.prune)
    teacher = _teacher(context, objective, rows, collator, device)
    steps = optimizer_steps(rows.labeled, recipe.prune)
    # Before the model changes: the analysis reads the teacher from it.
    analyse = this_rank() == 0 and not is_sharded(recipe.runtime)
    if is_sharded(recipe.runtime) and recipe.analysis.rows != 0:
        reporter.line("  no analysis: no process of a sharded run has the whole network at a mask update")
    analysis = start_analysis(recipe, model, data.development, tokenizer, steps) if analyse else None
    masked = _masked_weights(model, recipe, steps, _load_start(recipe, run, model))
    whole = WholeModel(model, recipe.runtime)
    dev = DevMetric(whole.model, data.development, tokenizer, collator, recipe)
    updates = MaskUpdates(recipe.prune, steps, masked, analysis.before_update if analysis is not None else None)
    phase = QuantizationPhase((model, whole.model), float_steps(recipe.prune, steps))
    job = TrainingRun(
        title="pruning",
        context=context,
        model=model,
        train=rows,
        collator=collator,
        objective=Distillation(model, objective, teacher, dropout=recipe.prune.dropout),
        settings=recipe.prune,
        device=device,
        evaluate=whole.evaluated_by(dev),
        unlabeled_share=recipe.prune.unlabeled_share,
        hooks=(masked, updates, phase, *([analysis] if analysis is not None else [])),
    )
    log = train(job)
    whole.refresh()
    if this_rank() > 0:
        return {}
    return _write(context, whole.model, masked.masks, dev, tokenizer, log, analysis)


def _unlabeled(recipe: Recipe, data: TaskData) -> Sequence[Texts]:
    """The rows without labels, those that are read before those that are made."""
    read = () if recipe.data.unlabeled is None else read_unlabeled(recipe, data)
    if not recipe.prune.augment:
        return read
    words = recipe.task.problem_type == "tagging"
    return Joined((read, tuple(augmented_rows(data.train.texts, recipe.prune.augment, recipe.seed, words=words))))


def _write(
    context: StageContext,
    model: PreTrainedModel,
    masks: Masks,
    dev: DevMetric,
    tokenizer: TextTokenizer,
    log: Sequence[LogRecord],
    analysis: PruningAnalysis | None = None,
) -> StageResult:
    """Write the pruned model and what is known of it."""
    recipe, target = context.recipe, context.target
    in_int8 = recipe.prune.quantization_aware > 0
    with computing_in_int8(model, in_int8):
        value, reason = dev.measured()
    model.save_pretrained(target)
    save_tokenizer(tokenizer, target)
    save_masks(masks, target)
    layers = count_zeros(load_finetuned(target), masks)
    metric = recipe.task.score
    write_updates([MaskUpdate.model_validate(record) for record in log if "sparsity" in record], target)
    metrics = PruneMetrics(
        metric=metric,
        dev=value,
        **present(dev_in_float=dev() if in_int8 else None),
        undefined=reason,
        sparsity=sparsity_of(masks),
        **present(analysis=analysis and write_analysis(recipe, analysis, log, target)),
        layers=layers,
        log=tuple(record for record in log if "analysis" not in record),
    )
    metrics.store(target)
    return {metric: value, "encoder_sparsity": metrics.sparsity}


def _load_start(recipe: Recipe, run: RunFolder, model: PreTrainedModel) -> Masks | None:
    """Load the weights of `prune.start` into the model; return its masks, or None without a start."""
    if recipe.prune.start is None:
        return None
    require_same_teacher(recipe.prune, run)
    start = Path(recipe.prune.start)
    model.load_state_dict(load_finetuned(start).state_dict())
    return load_masks(start)


def _masked_weights(model: PreTrainedModel, recipe: Recipe, steps: int, masks: Masks | None) -> MaskedWeights:
    settings = recipe.prune
    setup = Setup(
        seed=recipe.seed,
        updates=tuple(mask_plan(settings, steps)),
        settings=settings,
        architecture=find_architecture(model.config.model_type),
    )
    weights = prunable_weights(model)
    return MaskedWeights(weights, CRITERIA[settings.criterion](weights, setup), masks)


def count_zeros(saved: PreTrainedModel, masks: Masks) -> dict[str, LayerZeros]:
    """Count the zeros of each weight in the saved file, and check them against its mask.

    Returns:
        parameter name -> its zeros.

    Raises:
        StageError: a pruned weight is not zero in the file.
    """
    layers = {}
    for name, weight in prunable_weights(saved).items():
        pruned = ~masks[name].cpu()
        if bool(weight[pruned].count_nonzero()):
            raise StageError("pruned weights are not zero in the saved file", where=name)
        layers[name] = LayerZeros(zeros=int((weight == 0).sum()), elements=weight.numel())
    return layers


def _teacher(
    context: StageContext, objective: Objective, rows: TokenizedSplit, collator: Collator, device: torch.device
) -> Teacher | None:
    if not objective.needs_teacher:
        return None
    source = context.run.stage(FINETUNE.folder)
    model = load_finetuned(source, device)
    width = int(model.config.hidden_size)
    too_much = live_teacher(objective.token_outputs, rows.tokens, width, context.recipe.runtime.teacher_cache_gb)
    # Each of several processes would need the tokens of all rows.
    if too_much or (objective.token_outputs and rank_count() > 1):
        return LiveTeacher(model, objective, bf16=trains_in_bf16(context.recipe.prune, device))
    record = read_json(source / STAGE_FILE) or {}
    cache = TeacherCache(context.run.path / CACHE, str(record["outputs"]["model.safetensors"]["sha256"])[:16])
    return cached_teacher(model, rows, collator, objective, cache, device, context.reporter)
