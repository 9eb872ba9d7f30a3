"""Time the network as export will store it: by matrix at each sparsity, and all that pruning does not change.

Nothing here enters the fingerprint of a pruning (`pipeline.fingerprint.NEUTRAL`): the sparsities that were chosen are
stored, and another measurement, on this machine or another, is no reason to prune again.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.errors import RecipeError
from sdp.evaluation.bench_inputs import bench_cases
from sdp.models.layers import prunable_weights
from sdp.models.positions import fitting_lengths, position_limit
from sdp.pipeline.progress import Reporter
from sdp.recipe.sections import Recipe
from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.operator_times import Product, product_seconds
from sdp_onnx.bench.pair import benchmark_pair
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.kernel_choice import Precision, gains
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.registry import default_runtime

# Sparsity of the file whose time is measured as a whole, about: there sparse products pay in every pattern.
_REFERENCE = 0.9
# Sparsities at which a product is timed; it takes time linear in the weights that are left between them.
_TIMED = 5


@dataclass(frozen=True)
class MeasuredTimes:
    """Times in ms of the dense file, and of the exported one by part.

    Attributes:
        case: what was run, as the benchmark names it.
        threads: threads of an operator.
        dense: a run of the dense file.
        rest: a run of the exported file without the products of prunable weights.
        layers: name of a weight -> time of its products at each sparsity.
    """

    case: str
    threads: int
    dense: float
    rest: float
    layers: Mapping[str, tuple[float, ...]]

    def speedup(self, layers: float) -> float:
        """How much faster than the dense file the exported one is if the products take so many ms."""
        return self.dense / (self.rest + layers)


def uses_operators(precision: Precision, kept: Sequence[tuple[float, float]]) -> bool:
    """Whether the exporter uses the library's operators for a model, or leaves it dense.

    Args:
        precision: of the products.
        kept: of each matrix the weights that are left, and all weights.
    """
    return gains(kept, precision)


def measure_times(
    recipe: Recipe,
    model: PreTrainedModel,
    runs: Mapping[str, int],
    levels: Sequence[float],
    rows: TokenizedSplit,
    collator: Collator,
    inputs: Sequence[str],
    reporter: Reporter,
) -> MeasuredTimes:
    """Measure with the first case and number of threads of [bench].

    Dense file and exported file run in turns, the latter with random zeros of about 90 % in every matrix. What it takes
    beyond its products, as they are timed by themselves, is the rest: what times of single products miss is in there.

    Args:
        recipe: with [export] and [bench].
        model: the dense network, on the CPU; it ends with these zeros.
        runs: name of a weight -> how often its layer runs.
        levels: the sparsities, rising from 0.
        rows: texts of the measurement.
        collator: pads a batch.
        inputs: the tokenizer's outputs.
        reporter: shows progress.

    Raises:
        RecipeError: the operator library has no product for this kind of model.
        OperatorLibraryError: this installation has no operator library.
    """
    shapes = {name: (weight.shape[1], weight.shape[0]) for name, weight in prunable_weights(model).items()}
    reference = min(range(len(levels)), key=lambda level: abs(levels[level] - _REFERENCE))
    threads = recipe.bench.thread_counts[0]
    with tempfile.TemporaryDirectory() as folder:
        _prune_at_random(model, levels[reference], _block(recipe))
        dense, exported = _export(recipe, model, inputs, Path(folder))
        case = _first_case(recipe, model, rows, collator, exported)
        reporter.line(f"  timing dense and sparse products: {case.name}, {threads} threads")
        (whole,) = benchmark_pair(
            dense, exported, [case], threads=(threads,), seconds_per_case=recipe.bench.seconds
        ).cases
    tokens = sorted((next(iter(batch.values())).shape for batch in case.batches), key=lambda shape: shape[0] * shape[1])
    by_shape = {
        shape: _by_level(
            Product(*shape, _block(recipe), recipe.export.precision), levels, tokens[len(tokens) // 2], count, threads
        )
        for shape, count in _counted(shapes, runs).items()
    }
    layers = {name: runs[name] * by_shape[shape] for name, shape in shapes.items()}
    of_products = sum(float(own[reference]) for own in layers.values())
    candidate = whole.baseline.p50_ms / whole.speedup.value
    # Products by themselves can take longer than in the file, where they share the packing of their input.
    factor = min(1.0, candidate / of_products) if of_products > 0 else 1.0
    return MeasuredTimes(
        case=case.name,
        threads=threads,
        dense=whole.baseline.p50_ms,
        rest=max(0.0, candidate - factor * of_products),
        layers={name: tuple((factor * own).tolist()) for name, own in layers.items()},
    )


def _block(recipe: Recipe) -> int:
    return 4 if recipe.prune.pattern == "1x4" else 1


def _counted(shapes: Mapping[str, tuple[int, int]], runs: Mapping[str, int]) -> Counter[tuple[int, int]]:
    """Return how many products of each shape there are in a forward pass."""
    counted: Counter[tuple[int, int]] = Counter()
    for name, shape in shapes.items():
        counted[shape] += runs[name]
    return counted


def _prune_at_random(model: PreTrainedModel, sparsity: float, block: int) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in prunable_weights(model).values():
            kept = torch.rand(weight.shape[0], weight.shape[1] // block, generator=generator) >= sparsity
            weight.mul_(kept.repeat_interleave(block, dim=1))


def _export(recipe: Recipe, model: PreTrainedModel, inputs: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """Write the dense file and the exported one.

    Raises:
        RecipeError: the second has no operator of the library.
    """
    dense, exported = (folder / f"{name}.onnx" for name in ("dense", "exported"))
    threshold = recipe.export.external_data_mb * 10**6
    export_torch(model, dense, input_names=inputs, opset=recipe.export.opset, external_data_threshold=threshold)
    records = encode_model(
        dense,
        exported,
        encoding="kernel",
        precision=recipe.export.precision,
        metadata={},
        external_data_threshold=threshold,
    )
    if not any(record.encoding == "kernel" for record in records):
        what = f"the operator library has no products for {model.config.model_type} models, and zeros buy them no speed"
        raise RecipeError(what, where="prune.target_speedup", hint="Set prune.sparsity in its place.")
    return dense, exported


def _first_case(
    recipe: Recipe, model: PreTrainedModel, rows: TokenizedSplit, collator: Collator, exported: Path
) -> Case:
    names = list(default_runtime().load(exported).input_names)
    lengths = fitting_lengths(recipe.bench, position_limit(model.config.to_dict())).sequence_lengths[:1]
    only = recipe.bench.model_copy(update={"batch_sizes": recipe.bench.batch_sizes[:1]})
    (case,) = bench_cases(recipe.model_copy(update={"bench": only}), lengths, rows, collator, names)
    return case


def _by_level(
    product: Product, levels: Sequence[float], tokens: tuple[int, int], copies: int, threads: int
) -> NDArray[np.float64]:
    """Return the ms of a product at each sparsity; 0 where the library has none for its shape."""
    dense = product.kind(1.0)
    if dense is None:
        return np.zeros(len(levels))
    sparse = next((level for level in range(len(levels)) if product.kind(1 - levels[level]) != dense), len(levels))
    timed = sorted({0, *np.linspace(sparse, len(levels) - 1, _TIMED).round().astype(int).tolist()} - {len(levels)})
    seconds = {level: product_seconds(product, 1 - levels[level], tokens, copies, threads) for level in timed}
    # More zeros never take longer: a measured rise is noise.
    known = np.minimum.accumulate([1000 * seconds[level] for level in timed])
    kept = np.array([1 - level for level in levels])
    between = np.interp(-kept, -kept[timed], known)
    # Above the break-even the product is dense whatever the zeros.
    between[:sparse] = known[0]
    return np.asarray(between)
