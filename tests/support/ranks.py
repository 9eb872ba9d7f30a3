"""One rank of a data-parallel step of tiny models: run as a script by each rank, and imported for the single process.

python ranks.py RANK FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification, PreTrainedModel

from sdp.losses.objective import Objective
from sdp.models.layers import prunable_weights
from sdp.pruning.forward import Reader
from sdp.pruning.masks import apply_masks, select_masks
from sdp.pruning.repair import Repair
from sdp.pruning.teacher import LiveTeacher
from sdp.recipe.pruning import PruneSection
from sdp.training.term_means import TermMeans

RANKS = 2
LENGTHS = (9, 2, 3, 4, 10, 3, 10, 5, 8, 7)
ALL_ROWS = range(len(LENGTHS))
LABELS = 3
# name -> (kind of task, losses, rows of the first rank; the other one has the rest)
CASES: dict[str, tuple[str, list[dict], int]] = {
    "sequence rows": (
        "classification",
        [
            {"name": "cross-correlation", "layers": (1, -1), "off_diagonal": 0.1},
            {"name": "cosine", "representation": "pooled"},
            {"name": "kld"},
        ],
        5,
    ),
    "token rows of unequal counts": (
        "classification",
        [
            {"name": "cross-correlation", "representation": "tokens", "off_diagonal": 0.1},
            {"name": "cosine", "representation": "tokens", "layers": "all"},
        ],
        5,
    ),
    "unequal rows, and weights": (
        "classification",
        [{"name": "cross-correlation", "representation": "first"}, {"name": "hidden"}, {"name": "align-cosine"}],
        3,
    ),
    "one row beside nine": ("classification", [{"name": "cross-correlation", "off_diagonal": 0.1}], 1),
    "tagging": ("tagging", [{"name": "kld"}, {"name": "cross-correlation", "representation": "tokens"}], 4),
    "ranking": ("ranking", [{"name": "kld"}, {"name": "align-frobenius"}], 4),
}


def tiny_model(kind: str, seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        initializer_range=0.4,
        num_labels=1 if kind == "ranking" else LABELS,
    )
    return (BertForTokenClassification if kind == "tagging" else BertForSequenceClassification)(config).eval()


def batch(kind: str, rows: range) -> tuple[dict[str, Tensor], Tensor]:
    """The rows of the batch that are asked for, padded alike on every rank, and their labels."""
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randint(1, 30, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)).long()
    shape = tuple(tokens.shape) if kind == "tagging" else (len(LENGTHS),)
    labels = torch.randint(0, LABELS, shape, generator=generator)
    if kind == "tagging":
        labels = torch.where(mask.bool(), labels, -100)
    inputs = {"input_ids": tokens * mask, "attention_mask": mask}
    return {name: value[rows.start : rows.stop] for name, value in inputs.items()}, labels[rows.start : rows.stop]


def shares(case: str) -> tuple[range, range]:
    """The rows of each rank."""
    first = CASES[case][2]
    return range(first), range(first, len(LENGTHS))


def step(case: str, rows: range = ALL_ROWS) -> dict[str, Tensor]:
    """Loss, terms and gradients of one step on some rows; those of all ranks where this process is one of several."""
    kind, losses, _ = CASES[case]
    student, teacher = tiny_model(kind, 1), tiny_model(kind, 2)
    objective = Objective(kind, PruneSection.model_validate({"losses": losses}).losses, 2)  # type: ignore[arg-type]
    inputs, labels = batch(kind, rows)
    output = LiveTeacher(teacher, objective).outputs(inputs, torch.tensor([]))
    model = torch.nn.parallel.DistributedDataParallel(student) if dist.is_initialized() else student
    loss, terms = objective(Reader(student, objective)(model, inputs), labels, inputs["attention_mask"], output)
    loss.backward()
    gradients = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **{f"term {name}": value for name, value in terms.items()}, **gradients}


def checkpointed_terms(rank: int, folder: Path) -> None:
    """Add a term up that is another on each rank, go on from rank 0's checkpoint of it, and write down its mean."""
    means, resumed = TermMeans(), TermMeans()
    means.add({"loss": torch.tensor(1.0 + rank)})
    means.even_out()
    (folder / str(rank)).mkdir()
    means.save(folder / str(rank))
    dist.barrier()
    resumed.load(folder / "0", torch.device("cpu"))
    for each in (means, resumed):
        each.add({"loss": torch.tensor(6.0)})
    save_file(
        {str(i): torch.tensor(each.take()["loss"]) for i, each in enumerate((means, resumed))}, folder / f"terms-{rank}"
    )


def repaired() -> dict[str, Tensor]:
    """Weights of a network repaired on three batches: on more than one rank, each measures its part of them."""
    student, teacher = tiny_model("classification", 1), tiny_model("classification", 1)
    weights = prunable_weights(student)
    masks = select_masks({name: weight.detach().abs() for name, weight in weights.items()}, 0.5, "layer")
    apply_masks(weights, masks)
    inputs, _ = batch("classification", ALL_ROWS)
    parts = [{name: value[start : start + 4] for name, value in inputs.items()} for start in (0, 4, 8)]
    Repair(student, teacher, parts)(masks)
    return {name: parameter.detach() for name, parameter in student.named_parameters()}


if __name__ == "__main__":
    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=number, world_size=RANKS)
    for name in CASES:
        save_file(
            {key: value.contiguous() for key, value in step(name, shares(name)[number]).items()},
            folder / f"{name}-{number}",
        )
    checkpointed_terms(number, folder)
    save_file(repaired(), folder / f"repaired-{number}")
    dist.destroy_process_group()
