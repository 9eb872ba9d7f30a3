"""Stage 1: fine-tune the pretrained encoder densely. Its result is the baseline and the teacher.

With `finetune.epochs = 0` it trains nothing: a model that is already fine-tuned for the task is taken as it is.

Writes model.safetensors, config.json and the tokenizer (a transformers folder), and metrics.json with the training
curve.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, set_seed

from sdp.data.batches import Collator
from sdp.data.load import load_task_data
from sdp.data.rows import TaskData
from sdp.distributed.collectives import this_rank
from sdp.distributed.sharded import WholeModel, is_sharded, require_shardable
from sdp.losses.task import TaskObjective
from sdp.models.head import choose_head
from sdp.models.inputs import fit_tokenizer, pieces_beyond, require_embeddings
from sdp.models.load import load_pretrained
from sdp.models.pooling import choose_pooling
from sdp.models.source import ModelFolder, locate_model
from sdp.models.tokenizer import load_tokenizer, save_tokenizer
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.artifacts.training import FinetuneMetrics, LogRecord, RowCounts
from sdp.pipeline.context import StageContext
from sdp.pipeline.progress import Reporter
from sdp.pipeline.stages import VOCABULARY
from sdp.recipe.sections import Recipe
from sdp.training.device import training_device
from sdp.training.inputs import DevMetric, tokenize_split
from sdp.training.run import TrainingRun, train
from sdp_onnx.deploy.tokenization import TextTokenizer


def run(context: StageContext) -> StageResult:
    """Fine-tune the recipe's model on its task; resumes an interrupted attempt in `target`."""
    recipe, run, target, reporter = context.recipe, context.run, context.target, context.reporter
    device = training_device(recipe.runtime)
    trimmed = ModelFolder(recipe.model.name, run.stage(VOCABULARY.folder))
    folder = locate_model(recipe.model) if recipe.vocabulary is None else trimmed
    set_seed(recipe.seed)
    data, model = _data_and_model(recipe, folder, device, reporter)
    tokenizer = _tokenizer(recipe, folder, model, reporter)
    collator = Collator(tokenizer)
    if is_sharded(recipe.runtime):
        require_shardable(recipe.runtime)
    whole = WholeModel(model, recipe.runtime)
    dev = DevMetric(whole.model, data.development, tokenizer, collator, recipe)
    rows = tokenize_split(data.train, tokenizer, recipe)
    if pieces_beyond(tokenizer, model):
        for split in filter(None, (data.train, data.dev, data.test)):
            pieces = tokenize_split(split, tokenizer, recipe).rows
            require_embeddings(model, pieces, str(folder.path), split.name)
    log: list[LogRecord] = []
    if recipe.finetune.trains:
        job = TrainingRun(
            title="fine-tuning",
            context=context,
            model=model,
            train=rows,
            collator=collator,
            objective=TaskObjective(recipe.task.problem_type),
            settings=recipe.finetune,
            device=device,
            evaluate=whole.evaluated_by(dev),
        )
        log = train(job)
        whole.refresh()
    if this_rank() > 0:
        return {}
    whole.model.save_pretrained(target)
    save_tokenizer(tokenizer, target)
    metric = recipe.task.score
    value, reason = dev.measured()
    rows_of = RowCounts(train=len(data.train), dev=len(data.dev), test=len(data.test) if data.test else 0)
    FinetuneMetrics(metric=metric, dev=value, undefined=reason, rows=rows_of, log=tuple(log)).store(target)
    return {metric: value}


def _data_and_model(
    recipe: Recipe, folder: ModelFolder, device: torch.device, reporter: Reporter
) -> tuple[TaskData, PreTrainedModel]:
    """Return the model with its head for training, and the data with its classes in the head's order."""
    data = load_task_data(recipe)
    if recipe.task.problem_type == "embedding":
        pooling = choose_pooling(recipe, locate_model(recipe.model).path)
        trusted = recipe.model.trust_remote_code
        return data, load_pretrained(folder, "embedding", (), device, pooling=pooling, trust_remote_code=trusted)
    head = choose_head(recipe, folder, data.label_names)
    if head is not None:
        reporter.line(f"  {head.line}")
        data = data.in_order(head.labels)
    model = load_pretrained(
        folder,
        recipe.task.problem_type,
        data.label_names,
        device,
        keep_head=head is not None,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    return data, model


def _tokenizer(recipe: Recipe, folder: ModelFolder, model: PreTrainedModel, reporter: Reporter) -> TextTokenizer:
    """Return the model's tokenizer with the inputs and the padding side that the model needs."""
    words = recipe.task.problem_type == "tagging"
    own = load_tokenizer(folder.path, trust_remote_code=recipe.model.trust_remote_code, words=words)
    tokenizer = fit_tokenizer(own, model)
    if tokenizer.padding.side != own.padding.side:
        side = tokenizer.padding.side
        reporter.line(f"  padding on the {side}: on the other side, as the tokenizer has it, it changes the answers")
    return tokenizer
