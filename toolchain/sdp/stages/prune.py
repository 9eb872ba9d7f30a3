"""Stage 2: prune the fine-tuned network while it learns from its own unpruned self.

With `prune.epochs = 0` nothing is trained (`pruning.one_shot`), and with `prune.sparsity = 0` beside it nothing pruned.
With `prune.repair` each mask update ends with a refit of what is kept (`pruning.repair`).

With `prune.teacher` it learns from another network (`pruning.other_teacher`). With `prune.layers` it has the first
layers alone (`models.first_layers`), and learns from the network with all of them.

With `prune.start` it starts from a finished pruning: weights, masks and sparsity come from its folder, the teacher
stays what it was, and everything else (optimizer, learning rate, order of rows) starts anew. Where units were removed
there, the network is the smaller one, and all of its weights are kept at first.

With `prune.scope = "allocated"` each matrix gets a sparsity of its own first (`pruning.allocated`).

With `prune.pattern = "structured"` heads and neurons are removed (`pruning.structured`): the saved model is smaller.

Writes the pruned model (a transformers folder), masks.safetensors, pruning.jsonl (one line a mask update), metrics.json
and analysis.json (what the masks did to the network, unless the recipe turns that off). allocation.json is there where
sparsities were allocated, kept_units.json where units were removed, unit_times.json where their times were measured.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel, set_seed

from sdp.data.augment import augmented_rows
from sdp.data.batches import Collator, TokenizedSplit
from sdp.data.rows import TaskData
from sdp.data.rows_on_disk import Joined, Texts
from sdp.data.unlabeled import read_unlabeled
from sdp.distributed.collectives import this_rank
from sdp.distributed.sharded import WholeModel, is_sharded
from sdp.errors import StageError
from sdp.losses.objective import Objective
from sdp.models.architectures import find_architecture
from sdp.models.first_layers import first_layers
from sdp.models.int8_network import computing_in_int8
from sdp.models.layers import head_parameters, layer_count, prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.parts import count_parts, encoder_shape
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import save_tokenizer, saved_tokenizer
from sdp.models.units import find_parts
from sdp.pipeline.artifacts.base import present
from sdp.pipeline.artifacts.kept_units import KeptUnits
from sdp.pipeline.artifacts.pruning import (
    KeptLayers,
    LayerZeros,
    MaskUpdate,
    PruneMetrics,
    TeacherMetrics,
    write_updates,
)
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.artifacts.training import LogRecord
from sdp.pipeline.context import StageContext
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import FINETUNE
from sdp.pruning.allocated import allocated_sparsities
from sdp.pruning.analysis.recorder import PruningAnalysis
from sdp.pruning.analysis.stage import start_analysis, write_analysis
from sdp.pruning.criteria import CRITERIA, Setup
from sdp.pruning.distillation import Distillation
from sdp.pruning.layer_inputs import calibration_batches
from sdp.pruning.mask_updates import MaskUpdates, mask_plan, share_plan
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import Masks, load_masks, save_masks, sparsity_of
from sdp.pruning.one_shot import prune_at_once
from sdp.pruning.quantization_phase import QuantizationPhase, float_steps
from sdp.pruning.repair import Repair
from sdp.pruning.sharded import require_shardable_pruning
from sdp.pruning.start import require_same_teacher, starts_smaller
from sdp.pruning.structured.removal_steps import UnitRemoval, remove_at_once
from sdp.pruning.structured.stage import make_smaller, unit_costs
from sdp.pruning.teacher_choice import Student, choose_teacher
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import Recipe
from sdp.training.device import training_device, trains_in_bf16
from sdp.training.hooks import Hook
from sdp.training.inputs import DevMetric, finetuned_data, rows_to_learn
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
    if more := _unlabeled(recipe, data):
        reporter.line(f"  {len(more):,} rows without labels")
    rows = rows_to_learn(recipe, data, more, tokenizer)
    sparsities: dict[str, float] | None = None
    if recipe.prune.scope == "allocated":
        sparsities = allocated_sparsities(recipe, source, context.target, rows, tokenizer, device, reporter)
    set_seed(recipe.seed)
    model = _student(recipe.prune, source, device)
    steps = optimizer_steps(rows.labeled, recipe.prune)
    units = _units(context, model, rows, tokenizer, collator) if recipe.prune.structured else None
    if steps == 0:
        dev = DevMetric(model, data.development, tokenizer, collator, recipe)
        return _without_training(context, model, rows, dev, tokenizer, sparsities, units) if this_rank() == 0 else {}
    _freeze(model, recipe.prune)
    objective = Objective(
        recipe.task.problem_type, recipe.prune.losses, layer_count(model), labels=recipe.prune.learns_labels
    )
    if is_sharded(recipe.runtime):
        require_shardable_pruning(recipe.runtime, recipe.prune)
    student = Student(model, objective, tokenizer, rows, data, more)
    teacher, others = choose_teacher(context, student)
    # Before the model changes: the analysis reads the teacher from it.
    analysis = _analysis(context, student, steps)
    masked = _masked_weights(model, recipe, steps, _load_start(recipe, run, model))
    whole = WholeModel(model, recipe.runtime)
    dev = DevMetric(whole.model, data.development, tokenizer, collator, recipe)
    repair = _repair(context, model, rows, collator) if recipe.prune.repair else None
    before_update = analysis.before_update if analysis is not None else None
    updates: Hook
    if units is None:
        updates = MaskUpdates(recipe.prune, steps, masked, before_update, repair, sparsities)
    else:
        updates = units.steps(masked, share_plan(recipe.prune, steps), before_update)
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
    return _write(context, whole.model, masked.masks, dev, tokenizer, log, analysis, others)


def _student(settings: PruneSection, source: Path, device: torch.device) -> PreTrainedModel:
    """The network that will be pruned: the fine-tuned one, its first layers, or what an earlier pruning made smaller.

    Args:
        settings: of the pruning.
        source: the folder of the fine-tuned network.
        device: where it goes.
    """
    if starts_smaller(settings):
        return load_finetuned(Path(str(settings.start)), device)
    dense = load_finetuned(source, device)
    return dense if settings.layers is None else first_layers(dense, settings.layers)


def _freeze(model: PreTrainedModel, settings: PruneSection) -> None:
    """Let what stays as fine-tuning left it have no gradient."""
    for parameter in head_parameters(model).values() if settings.head_stays else ():
        parameter.requires_grad_(False)
    if settings.embeddings_stay:
        model.get_input_embeddings().requires_grad_(False)


def _without_training(
    context: StageContext,
    model: PreTrainedModel,
    rows: TokenizedSplit,
    dev: DevMetric,
    tokenizer: TextTokenizer,
    sparsities: Mapping[str, float] | None,
    units: UnitRemoval | None,
) -> StageResult:
    recipe = context.recipe
    if units is not None:
        masked = MaskedWeights(prunable_weights(model))
        remove_at_once(units, masked, recipe.prune.updates)
        removed: LogRecord = {
            "step": 0,
            "epoch": 0.0,
            **dict.fromkeys(("wanted", "sparsity"), sparsity_of(masked.masks)),
        }
        return _write(context, model, masked.masks, dev, tokenizer, [removed])
    dense = load_finetuned(context.run.stage(FINETUNE.folder), model.device)
    collator = Collator(tokenizer)
    masks = prune_at_once(model, dense, rows, collator, recipe.prune, recipe.seed, context.reporter, sparsities)
    wanted = sparsity_of(masks) if sparsities is not None else recipe.prune.sparsity
    record: LogRecord = {"step": 0, "epoch": 0.0, "wanted": wanted, "sparsity": sparsity_of(masks)}
    return _write(context, model, masks, dev, tokenizer, [record])


def _unlabeled(recipe: Recipe, data: TaskData) -> Sequence[Texts]:
    """The rows without labels, those that are read before those that are made."""
    read = () if recipe.data.unlabeled is None else read_unlabeled(recipe, data)
    if not recipe.prune.augment:
        return read
    kind = recipe.task.problem_type
    texts = data.train.apart().texts if kind == "embedding" else data.train.texts
    made = augmented_rows(texts, recipe.prune.augment, recipe.seed, words=kind == "tagging")
    return Joined((read, tuple(made)))


def _analysis(context: StageContext, student: Student, steps: int) -> PruningAnalysis | None:
    """The analysis of the first process; none where no process has the whole network."""
    recipe = context.recipe
    if starts_smaller(recipe.prune) or recipe.prune.layers is not None:
        context.reporter.line("  no analysis: it compares the layers of a network with those of the dense one")
        return None
    if is_sharded(recipe.runtime):
        if recipe.analysis.rows != 0:
            what = "no analysis: no process of a sharded run has the whole network at a mask update"
            context.reporter.line(f"  {what}")
        return None
    if this_rank() > 0:
        return None
    return start_analysis(recipe, student.model, student.data.development, student.tokenizer, steps)


def _write(
    context: StageContext,
    model: PreTrainedModel,
    masks: Masks,
    dev: DevMetric,
    tokenizer: TextTokenizer,
    log: Sequence[LogRecord],
    analysis: PruningAnalysis | None = None,
    teacher: TeacherMetrics | None = None,
) -> StageResult:
    """Write the pruned model and what is known of it."""
    recipe, target = context.recipe, context.target
    in_int8 = recipe.prune.quantization_aware > 0
    with computing_in_int8(model, in_int8):
        value, reason = dev.measured()
    sparsity = _sparsity(context, masks)
    if recipe.prune.structured:
        masks = make_smaller(model, masks, target)
    elif starts_smaller(recipe.prune):
        shutil.copy(Path(str(recipe.prune.start)) / KeptUnits.FILE, target)
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
        sparsity=sparsity,
        **present(kept_layers=_kept_layers(context, model)),
        **present(teacher=teacher, analysis=analysis and write_analysis(recipe, analysis, log, target)),
        layers=layers,
        log=tuple(record for record in log if "analysis" not in record),
    )
    metrics.store(target)
    return {metric: value, "encoder_sparsity": metrics.sparsity}


def _kept_layers(context: StageContext, model: PreTrainedModel) -> KeptLayers | None:
    if context.recipe.prune.layers is None:
        return None
    _, dense = encoder_shape(ModelFolder("", context.run.stage(FINETUNE.folder)))
    return KeptLayers(kept=layer_count(model), dense=dense or layer_count(model))


def _sparsity(context: StageContext, masks: Masks) -> float:
    """The share of the dense network's weights that are removed or zero."""
    if not starts_smaller(context.recipe.prune) and context.recipe.prune.layers is None:
        return sparsity_of(masks)
    dense = count_parts(ModelFolder("", context.run.stage(FINETUNE.folder))).prunable
    return 1 - sum(int(mask.count_nonzero()) for mask in masks.values()) / sum(dense.values())


def _load_start(recipe: Recipe, run: RunFolder, model: PreTrainedModel) -> Masks | None:
    """Load the weights of `prune.start` into the model; return its masks, or None where all weights are kept."""
    if recipe.prune.start is None:
        return None
    require_same_teacher(recipe.prune, run)
    if starts_smaller(recipe.prune):
        return None
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
    # Units have measures of their own.
    criterion = None if settings.structured else CRITERIA[settings.criterion](weights, setup)
    return MaskedWeights(weights, criterion, masks)


def _units(
    context: StageContext, model: PreTrainedModel, rows: TokenizedSplit, tokenizer: TextTokenizer, collator: Collator
) -> UnitRemoval:
    recipe, parts = context.recipe, find_parts(model)
    costs = unit_costs(context, model, parts, rows, tokenizer)
    batches = calibration_batches(rows, collator, recipe.prune.calibration_rows, recipe.seed)
    return UnitRemoval(model, parts, costs, batches, recipe.seed, context.reporter)


def _repair(context: StageContext, model: PreTrainedModel, rows: TokenizedSplit, collator: Collator) -> Repair:
    settings, device = context.recipe.prune, model.device
    dense = load_finetuned(context.run.stage(FINETUNE.folder), device)
    batches = calibration_batches(rows, collator, settings.calibration_rows, context.recipe.seed)
    return Repair(model, dense, batches, bf16=trains_in_bf16(settings, device))


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
