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
from sdp_onnx.bench.fastest_runs import fastest_runs
from sdp_onnx.bench.operator_times import Product, product_seconds
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.kernel_choice import Precision, gains
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.registry import default_runtime

# Sparsities of the files whose time is measured as a whole: at both the exporter uses the operators.
_REFERENCES = (0.7, 0.9)
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

    The dense file runs in turns with two exported ones, which have random zeros, 70 % and 90 % in every matrix. Between
    these two the sum of the products' own times is made to fit, by a factor: in a file their weights share the caches.
    What a file takes beyond them is the rest.

    Args:
        recipe: with [export] and [bench].
        model: the dense network, on the CPU; it ends with random zeros.
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
    threads = recipe.bench.thread_counts[0]
    with tempfile.TemporaryDirectory() as folder:
        dense, *exported = _export(recipe, model, inputs, Path(folder))
        case = first_case(recipe, model, rows, collator, exported[0])
        reporter.line(f"  timing dense and sparse products: {case.name}, {threads} threads")
        seconds = fastest_runs([dense, *exported], case, threads=threads, seconds=recipe.bench.seconds)
    before, *after = (1000 * own for own in seconds)
    layers = _product_times(recipe, model, runs, sorted({*levels, *_REFERENCES}), case)
    factor, rest = fitted([sum(own[sparsity] for own in layers.values()) for sparsity in _REFERENCES], after)
    return MeasuredTimes(
        case=case.name,
        threads=threads,
        dense=before,
        rest=rest,
        layers={name: tuple(factor * own[level] for level in levels) for name, own in layers.items()},
    )


def _product_times(
    recipe: Recipe, model: PreTrainedModel, runs: Mapping[str, int], sparsities: Sequence[float], case: Case
) -> dict[str, dict[float, float]]:
    """Return for each weight the ms of its products at each sparsity, timed by themselves on inputs of middle size."""
    shapes = {name: (weight.shape[1], weight.shape[0]) for name, weight in prunable_weights(model).items()}
    tokens = sorted((next(iter(batch.values())).shape for batch in case.batches), key=lambda shape: shape[0] * shape[1])
    precision, threads = recipe.export.kernel_precision, recipe.bench.thread_counts[0]
    by_shape = {
        shape: _by_level(
            Product(*shape, _block(recipe), precision), sparsities, tokens[len(tokens) // 2], count, threads
        )
        for shape, count in _counted(shapes, runs).items()
    }
    return {
        name: dict(zip(sparsities, (runs[name] * by_shape[shape]).tolist(), strict=True))
        for name, shape in shapes.items()
    }


def fitted(products: Sequence[float], files: Sequence[float]) -> tuple[float, float]:
    """Fit file = factor * products + rest to two files, neither number negative.

    The factor is 1 where the file with fewer products was not slower, which is noise.

    Args:
        products: sum of the products' own times in each file.
        files: times of the files.

    Returns:
        factor and rest.
    """
    saved, (before, after) = products[0] - products[1], files
    if products[1] <= 0:
        return 1.0, after
    factor = (before - after) / saved if saved > 0 and before > after else 1.0
    factor = min(factor, after / products[1])
    return factor, after - factor * products[1]


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


def _export(recipe: Recipe, model: PreTrainedModel, inputs: Sequence[str], folder: Path) -> list[Path]:
    """Write the dense file, and exported ones with more and more random zeros.

    Raises:
        RecipeError: these have no operator of the library.
    """
    files: list[Path] = []
    threshold = recipe.export.external_data_mb * 10**6
    for sparsity in _REFERENCES:
        _prune_at_random(model, sparsity, _block(recipe))
        dense, exported = (folder / f"{name}-{sparsity}.onnx" for name in ("dense", "exported"))
        export_torch(model, dense, input_names=inputs, opset=recipe.export.opset, external_data_threshold=threshold)
        records = encode_model(
            dense,
            exported,
            encoding="kernel",
            precision=recipe.export.kernel_precision,
            metadata={},
            external_data_threshold=threshold,
        )
        if not any(record.encoding == "kernel" for record in records):
            kind = model.config.model_type
            what = f"the operator library has no products for {kind} models, and zeros buy them no speed"
            raise RecipeError(what, where="prune.target_speedup", hint="Set prune.sparsity in its place.")
        # onnxruntime's products take as long with zeros.
        files += [exported] if files else [dense, exported]
    return files


def first_case(
    recipe: Recipe, model: PreTrainedModel, rows: TokenizedSplit, collator: Collator, exported: Path
) -> Case:
    """Make the first case of the recipe's benchmark.

    Args:
        recipe: with [bench].
        model: the network.
        rows: texts for cases of real length.
        collator: pads a batch.
        exported: a file of the network, for the names of its inputs.
    """
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
