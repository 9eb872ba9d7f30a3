"""A new recipe as TOML, with comments on values that users often change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sdp.data.rows import SplitName
from sdp.recipe.benchmark_tasks import MetricName, ProblemType
from sdp.recipe.pruning import PruneSection

SPARSITY, STEPS = 0.8, PruneSection().least_steps


@dataclass(frozen=True)
class Settings:
    """The settings of a new recipe.

    Attributes:
        name: recipe name.
        model: hub id, folder or package.
        type, metric: problem type and metric of the task.
        files: split -> file, relative to the recipe.
        max_length: longest input in tokens.
        batch_size: batch size of both training stages.
        epochs: epochs of fine-tuning; 0 leaves the model as it is.
        learning_rates: learning rates of fine-tuning and of pruning.
        max_metric_drop: threshold of the gate.
        max_size_ratio: threshold of the gate.
        threads: threads of the benchmark.
    """

    name: str
    model: str
    type: ProblemType
    metric: MetricName
    files: dict[SplitName, str]
    max_length: int
    batch_size: int
    epochs: int
    learning_rates: tuple[str, str]
    max_metric_drop: float
    max_size_ratio: float
    threads: int


def recipe_text(settings: Settings, text: Sequence[str], label: str, group: str | None, file: str) -> str:
    """Format a recipe.

    Args:
        settings: its values.
        text: the text columns.
        label: the label column.
        group: the column of a ranking's lists.
        file: name of the recipe file, for the first line.
    """
    own = settings
    files = "\n".join(f"{split} = {_quoted(name)}" for split, name in own.files.items())
    lists = f"group = {_quoted(group)}\n" if group is not None else ""
    cut = "longer texts are cut" if own.type == "embedding" else "longer rows are cut"
    longer = "longer contexts are read in windows" if own.type == "question-answering" else cut
    finetune = "epochs = 0                                # the encoder is taken as it is\n"
    if own.epochs:
        finetune = f"epochs = {own.epochs}\nlearning_rate = {own.learning_rates[0]}\nbatch_size = {own.batch_size}\n"
    threads = "" if own.threads == 2 else f"\n[bench]\nthreads = {own.threads}\n"
    return f"""# Look:  sdp check {file}        Run:  sdp run {file}        Every key: sdp schema, recipes/REFERENCE.md

name = {_quoted(own.name)}

[model]
name = {_quoted(own.model)}   # or another hub id, or a folder

[task]
type = {_quoted(own.type)}
metric = {_quoted(own.metric)}

[data]
{files}
text = [{", ".join(map(_quoted, text))}]
label = {_quoted(label)}
{lists}max_length = {own.max_length}                           # tokens; {longer}

[finetune]
{finetune}
[prune]
sparsity = {SPARSITY}                            # of the encoder's weights
# steps = {2 * STEPS}                            # without it {STEPS:,} or 3 epochs, whichever is more
learning_rate = {own.learning_rates[1]}
batch_size = {own.batch_size}
{threads}
[gate]
max_metric_drop = {own.max_metric_drop:g}                    # against the dense model; more test rows allow less
max_size_ratio = {own.max_size_ratio:g}
"""


def _quoted(text: str) -> str:
    """Quote a text for TOML, whose basic strings equal JSON's except for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
