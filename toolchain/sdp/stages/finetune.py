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
from sdp.models.load import load_pretrained, load_tokenizer, require_embeddings
from sdp.models.source import ModelFolder, locate_model
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
    tokenizer = load_tokenizer(folder.path, trust_remote_code=remote_code)
    set_seed(recipe.seed)
    model = load_pretrained(folder, recipe.task.problem_type, data.label_names, device, trust_remote_code=remote_code)
    collator = Collator(tokenizer)
    objective = Objective(recipe.task.problem_type)
    if is_sharded(recipe.runtime):
        require_shardable(objective, recipe.runtime)
    whole = WholeModel(model, recipe.runtime)
    dev = DevMetric(whole.model, data.development, tokenizer, collator, recipe)
    rows = tokenize_split(data.train, tokenizer, recipe)
    for split in (rows, dev.rows):
        require_embeddings(model, split.rows, str(folder.path))
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
    tokenizer.save_pretrained(target)
    metric = recipe.task.score
    value, reason = dev.measured()
    sizes = {"train": len(data.train), "dev": len(data.dev), "test": len(data.test) if data.test else 0}
    content = {"metric": metric, "dev": value, "undefined": reason, "rows": sizes, "log": log}
    write_json(target / "metrics.json", content)
    return {metric: value}
