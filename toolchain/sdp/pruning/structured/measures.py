"""What removing a unit would cost, and what repairing its layer needs, measured on some rows.

The importance of a unit is the diagonal of the Fisher information of the units' masks (Kwon et al., arXiv 2204.09656):
multiply what the unit computes by a mask m = 1, then

    importance = mean over rows of (d log p(y) / d m)^2.

The paper takes y from the labels. Here the network draws it from its own prediction, so that rows without labels count
as well. It is the Fisher information in the strict sense; the paper's is called the empirical one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from sdp.models.answerer import is_answerer
from sdp.models.embedder import is_embedder
from sdp.models.head import TRAINED_FOR
from sdp.models.units import Part
from sdp.pipeline.progress import Reporter
from sdp.pruning.layer_inputs import real_tokens
from sdp.pruning.replay import Batch, evaluating


@dataclass
class PartMeasures:
    """Measures of a part.

    Attributes:
        importance: of its units, float64 [units].
        gram: sum over real tokens of x x^T, x the inputs of its output layer with a constant 1 behind them where the
            layer has a bias, float64 [in, in].
    """

    importance: Tensor
    gram: Tensor


def measure_units(
    model: PreTrainedModel, parts: Sequence[Part], batches: Sequence[Batch], seed: int, reporter: Reporter
) -> dict[str, PartMeasures]:
    """Measure all units of a network, in one forward and one backward pass for each batch.

    Args:
        model: the network, which stays as it is.
        parts: of it.
        batches: rows as a collator makes them.
        seed: of the drawn labels.
        reporter: shows progress.

    Returns:
        name of a part -> its measures.
    """
    layers = {part.name: model.get_submodule(part.output.removesuffix(".weight")) for part in parts}
    sums = {part.name: _zeros(layers[part.name], part) for part in parts}
    generator = torch.Generator().manual_seed(seed)
    rows = 0
    with evaluating(model), _for_activations(model), reporter.task("measuring heads and neurons", len(batches)) as task:
        for done, batch in enumerate(batches, start=1):
            inputs = {key: value.to(model.device) for key, value in batch.items() if key not in ("labels", "index")}
            seen = _run(model, layers, inputs, generator)
            for part in parts:
                _add(sums[part.name], part, layers[part.name], seen[part.name], inputs["attention_mask"])
            rows += len(inputs["attention_mask"])
            task.update(done)
    for own in sums.values():
        own.importance /= max(1, rows)
    return sums


def drawn_log_likelihood(
    logits: Tensor,
    attention_mask: Tensor,
    generator: torch.Generator,
    *,
    multi_label: bool = False,
    vectors: bool = False,
    spans: bool = False,
) -> Tensor:
    """Return the log-likelihood of labels that a network draws from its own prediction, summed over a batch.

    A single output is the mean of a normal distribution with variance 1: the square of its own gradient is the Fisher
    information, and nothing is drawn.

    Args:
        logits: [B, labels], or [B, L, labels] with a label for each token.
        attention_mask: [B, L].
        generator: on the CPU.
        multi_label: each label is drawn by itself.
        vectors: the outputs are an embedding.
        spans: the outputs are for the start and the end of an answer at each token.
    """
    if spans:
        # A label is a token of the row, one for the start and one for the end.
        outside = ~attention_mask.bool()[:, None]
        scores = logits.transpose(1, 2).masked_fill(outside, -torch.inf).flatten(0, 1)
        return _drawn_class(scores, generator)
    flat = logits[attention_mask.bool()] if logits.dim() == 3 else logits
    if multi_label:
        yes = torch.bernoulli(flat.detach().sigmoid().cpu(), generator=generator).to(flat.device)
        return -functional.binary_cross_entropy_with_logits(flat, yes, reduction="sum")
    if flat.shape[-1] == 1:
        return flat.sum()
    if vectors:
        # Of a normal distribution with variance 1 around the vector: the mean over signs is the sum over its values.
        signs = torch.randint(0, 2, flat.shape, generator=generator) * 2 - 1
        return (flat * signs.to(flat.device)).sum()
    return _drawn_class(flat, generator)


def _drawn_class(logits: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.multinomial(logits.detach().softmax(dim=-1).cpu(), 1, generator=generator).squeeze(1)
    return -functional.cross_entropy(logits, drawn.to(logits.device), reduction="sum")


def _zeros(layer: nn.Module, part: Part) -> PartMeasures:
    size = part.columns.numel() + (layer.bias is not None)
    gram = torch.zeros(size, size, dtype=torch.float64)
    return PartMeasures(torch.zeros(part.units, dtype=torch.float64), gram)


@contextmanager
def _for_activations(model: PreTrainedModel) -> Iterator[None]:
    """Run a network such that activations have gradients, and parameters have none."""
    needed = [(own, own.requires_grad) for own in model.parameters()]
    model.requires_grad_(False)
    hook = model.get_input_embeddings().register_forward_hook(lambda _module, _inputs, output: output.requires_grad_())
    try:
        yield
    finally:
        hook.remove()
        for parameter, wanted in needed:
            parameter.requires_grad_(wanted)


def _run(
    model: PreTrainedModel, layers: Mapping[str, nn.Module], inputs: Batch, generator: torch.Generator
) -> dict[str, list[Tensor]]:
    """Return of each layer its inputs at each call, with their gradients."""
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            given[0].retain_grad()
            seen[name].append(given[0])

        return hook

    hooks = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
    try:
        with torch.enable_grad():
            logits = model(**inputs).logits
            likelihood = drawn_log_likelihood(
                logits,
                inputs["attention_mask"],
                generator,
                multi_label=model.config.problem_type == TRAINED_FOR["multi-label"],
                vectors=is_embedder(model.config),
                spans=is_answerer(model),
            )
            likelihood.backward()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _add(sums: PartMeasures, part: Part, layer: nn.Module, seen: Sequence[Tensor], attention_mask: Tensor) -> None:
    # A layer that runs several times has one mask.
    slopes = sum((own.detach() * _gradient(own)).sum(dim=1) for own in seen)
    if isinstance(slopes, Tensor):
        by_unit = slopes[:, part.columns.to(slopes.device)].sum(dim=2)
        sums.importance += by_unit.double().square().sum(dim=0).cpu()
    rows = real_tokens([own.detach() for own in seen], attention_mask).float()
    if layer.bias is not None:
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    sums.gram += (rows.T @ rows).double().cpu()


def _gradient(activation: Tensor) -> Tensor:
    return torch.zeros_like(activation) if activation.grad is None else activation.grad
