"""Stage 1: fine-tune the pretrained encoder densely. Its result is the baseline and the teacher.

Writes model.safetensors, config.json and the tokenizer (a transformers folder), and metrics.json with the training
curve.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import set_seed

from sdp.console import Reporter
from sdp.data.batches import Collator
from sdp.data.load import load_task_data
from sdp.json_file import write_json
from sdp.losses.objective import Objective
from sdp.models.inputs import fit_tokenizer, pieces_beyond, require_embeddings
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder, locate_model
from sdp.models.tokenizer import load_tokenizer, save_tokenizer
from sdp.recipe.sections import Recipe
from sdp.run_folder import RunFolder
from sdp.stages.training_inputs import DevMetric, tokenize_split
from sdp.training.collectives import this_rank
from sdp.training.device import training_device
from sdp.training.run import TrainingRun, train
from sdp.training.sharded import WholeModel, is_sharded, require_shardable


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Fine-tune the recipe's model on its task; resumes what an interrupted attempt left in `target`."""
    device = training_device(recipe.runtime)
    data = load_task_data(recipe)
    trimmed = ModelFolder(recipe.model.name, run.stage("0-vocabulary"))
    folder = locate_model(recipe.model) if recipe.vocabulary is None else trimmed
    remote_code = recipe.model.trust_remote_code
    words = recipe.task.problem_type == "tagging"
    own = load_tokenizer(folder.path, trust_remote_code=remote_code, words=words)
    set_seed(recipe.seed)
    model = load_pretrained(folder, recipe.task.problem_type, data.label_names, device, trust_remote_code=remote_code)
    tokenizer = fit_tokenizer(own, model)
    if tokenizer.padding.side != own.padding.side:
        side = tokenizer.padding.side
        reporter.line(f"  padding on the {side}: on the other side, as the tokenizer has it, it changes the answers")
    collator = Collator(tokenizer)
    objective = Objective(recipe.task.problem_type)
    if is_sharded(recipe.runtime):
        require_shardable(objective, recipe.runtime)
    whole = WholeModel(model, recipe.runtime)
    dev = DevMetric(whole.model, data.development, tokenizer, collator, recipe)
    rows = tokenize_split(data.train, tokenizer, recipe)
    if pieces_beyond(tokenizer, model):
        for split in filter(None, (data.train, data.dev, data.test)):
            pieces = tokenize_split(split, tokenizer, recipe).rows
            require_embeddings(model, pieces, str(folder.path), split.name)
    log = train(
        TrainingRun(
            title="fine-tuning",
            model=model,
            train=rows,
            collator=collator,
            objective=objective,
            settings=recipe.finetune,
            folder=target,
            device=device,
            evaluate=whole.evaluated_by(dev),
        ),
        recipe,
        reporter,
    )
    whole.refresh()
    if this_rank() > 0:
        return {}
    whole.model.save_pretrained(target)
    save_tokenizer(tokenizer, target)
    metric = recipe.task.score
    result: dict[str, Any] = {metric: dev()}
    sizes = {"train": len(data.train), "dev": len(data.dev), "test": len(data.test) if data.test else 0}
    write_json(target / "metrics.json", {"metric": metric, "dev": result[metric], "rows": sizes, "log": log})
    return result
