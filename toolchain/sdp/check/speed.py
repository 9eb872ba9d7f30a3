"""Findings on the speed that encoding, pattern and execution provider can give."""

from __future__ import annotations

from collections.abc import Iterator

from sdp.check.facts import Facts, Finding
from sdp.check.forecast import BLOCK, filled_blocks, is_exact, product
from sdp.models.positions import fitting_lengths
from sdp_onnx.export.kernel_choice import BREAK_EVEN_INT8_DENSITY, LARGEST_MEAN_DENSITY

_MADE_DENSE = "onnxruntime makes sparse tensors dense when it loads a file"
_INSTALL = "g++ or clang++, then installing this package again."


def may_be_faster(facts: Facts) -> bool:
    """Whether the exported file can run faster than the dense one.

    With prune.scope = "global" some layers may be sparse enough even if their mean is not. GPUs compute in fp16 faster
    than in fp32.
    """
    recipe = facts.recipe
    if recipe.export_provider == "cuda":
        return True
    if recipe.prune.layers is not None or recipe.prune.target_speedup is not None:
        return True
    if recipe.prune.structured and recipe.prune.sparsity > 0:
        return True
    kind = product(recipe.prune, recipe.export, 1 - recipe.prune.sparsity, library=facts.machine.library)
    by_library = recipe.export.encoding == "kernel" or facts.machine.library
    uneven = by_library and recipe.export.may_use_library and not is_exact(recipe.prune)
    return (kind is not None or uneven) and recipe.bench.provider == "cpu"


def speed_findings(facts: Facts) -> Iterator[Finding]:
    """Yield findings on speed."""
    yield from _library(facts)
    yield from _provider(facts)
    yield from _lengths(facts)
    prune = facts.recipe.prune
    precision = facts.recipe.export.precision
    if precision == "fp16":
        yield from _fp16(facts)
    yield from _first_layers(facts)
    # Without pruning, no zeros are expected to bring speed.
    if prune.structured:
        yield from _structured(facts)
    elif facts.recipe.bench.provider == "cpu" and prune.target_speedup is None and prune.sparsity:
        yield from _int8(facts) if precision == "int8" else _fp32(facts) if precision == "fp32" else ()
    yield from _pattern(facts)


def _library(facts: Facts) -> Iterator[Finding]:
    export = facts.recipe.export
    if facts.machine.library:
        return
    if export.precision == "int8" or export.encoding == "kernel":
        asked = 'precision = "int8"' if export.precision == "int8" else 'encoding = "kernel"'
        what = f"{asked} needs the operator library, which this installation lacks: the export here will fail"
        yield Finding("warning", "export", what, _INSTALL)
    elif export.encoding == "auto" and export.may_use_library:
        what = f"this installation has no operator library, and {_MADE_DENSE}: zeros make the file smaller, not faster"
        yield Finding("note", "export.encoding", what, _INSTALL)


def _provider(facts: Facts) -> Iterator[Finding]:
    recipe = facts.recipe
    if recipe.bench.provider != "cuda":
        return
    if not facts.machine.gpu:
        what = "this machine seems to have no NVIDIA GPU: the benchmark fails here"
        yield Finding("warning", "bench.provider", what, 'provider = "cpu", or a machine with a GPU.')
        return
    kind = product(recipe.prune, recipe.export, 1 - recipe.prune.sparsity, library=facts.machine.library)
    if kind is None and not recipe.prune.structured:
        what = f"on CUDA zeros buy no speed: {_MADE_DENSE}, and no product of its own skips them"
        yield Finding("note", "bench.provider", what)
    elif kind is not None:
        what = (
            "the file will use the operator library, which has kernels for the CPU alone: the encoder runs on the CPU "
            "in a session on the GPU too"
        )
        would = (
            'export.encoding = "coo" or "dense", in fp32 or fp16: every product stays on the GPU, at the dense speed.'
        )
        yield Finding("warning", "bench.provider", what, would)


def _lengths(facts: Facts) -> Iterator[Finding]:
    bench = facts.recipe.bench
    fitting = fitting_lengths(bench, facts.positions).sequence_lengths
    left_out = ", ".join(str(length) for length in bench.sequence_lengths if length not in fitting)
    if left_out:
        what = f"the default length {left_out} is left out: the model can take {facts.positions} tokens"
        yield Finding("note", "bench.sequence_lengths", what)


def _first_layers(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    if prune.layers is None:
        return
    of = "" if facts.layers is None else f" of {facts.layers}"
    rest = f"; prune.sparsity = {prune.sparsity:g} is of their weights" if prune.sparsity else ""
    yield Finding("note", "prune.layers", f"the first {prune.layers}{of} layers are kept{rest}")


def _structured(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    if prune.target_speedup is None and prune.sparsity:
        what = (
            f"{prune.sparsity:.0%} of the encoder's weights are removed with their heads and neurons: what is left is "
            "a smaller dense network, which needs no operator library"
        )
        yield Finding("note", "prune.pattern", what)


def _fp16(facts: Facts) -> Iterator[Finding]:
    if facts.recipe.bench.provider == "cuda":
        what = "the file is compared with torch and scored on the GPU, which computes in half precision as CPUs do not"
        yield Finding("note", "export.precision", what)
    else:
        what = "fp16 is for GPUs: onnxruntime computes such a file in fp32 on CPUs, and converts numbers in between"
        yield Finding("warning", "export.precision", what, '"fp32" or "int8", or bench.provider = "cuda".')


def _fp32(facts: Facts) -> Iterator[Finding]:
    prune, encoding = facts.recipe.prune, facts.recipe.export.encoding
    density = 1 - prune.sparsity
    if encoding == "coo":
        what = f"coo makes the file smaller and no faster: {_MADE_DENSE}"
        yield Finding(
            "note", "export.encoding", what, 'encoding = "auto" or "kernel", which multiply only what is left.'
        )
    elif encoding == "dense":
        what = "dense stores every zero: the file is neither smaller nor faster than before pruning"
        yield Finding("note", "export.encoding", what, 'encoding = "auto".')
    elif facts.machine.library or encoding == "kernel":
        if density >= LARGEST_MEAN_DENSITY:
            likely = "" if is_exact(prune) else "are likely to "
            what = (
                f"at {prune.sparsity:.0%} zeros the layers {likely}run dense: as a whole a model gains from sparse "
                f"products when less than {LARGEST_MEAN_DENSITY:.0%} of its weights are left"
            )
            would = f"prune.sparsity above {1 - LARGEST_MEAN_DENSITY:.2f}."
            yield Finding("warning", "prune.sparsity", what, would)
        else:
            what = f"sparse products multiply the {density:.0%} of the weights that are left; the rest runs as before"
            yield Finding("note", "export.encoding", what)


def _int8(facts: Facts) -> Iterator[Finding]:
    prune = facts.recipe.prune
    filled = filled_blocks(prune.zeros, 1 - prune.sparsity)
    mean = "" if is_exact(prune) else " on average"
    layers = "the layers" if is_exact(prune) else "most layers"
    blocks = f"int8 kernels take blocks of 1x4 weights, and about {filled:.0%} of them{mean} hold a nonzero"
    if filled >= BREAK_EVEN_INT8_DENSITY:
        what = f"{blocks}: {layers} run as dense int8 products, which zeros make no faster (sparse ones pay below "
        what += f"{BREAK_EVEN_INT8_DENSITY:.0%})"
        if prune.pattern == "1x4":
            would = f"prune.sparsity above {1 - BREAK_EVEN_INT8_DENSITY:.2f}."
        else:
            would = f'prune.pattern = "1x4" with prune.sparsity above {1 - BREAK_EVEN_INT8_DENSITY:.2f}.'
        yield Finding("warning", "prune.pattern" if prune.pattern != "1x4" else "prune.sparsity", what, would)
    elif prune.pattern != "1x4":
        times = filled / (1 - prune.sparsity)
        what = f"{blocks}: {times:.1f} times as many to store and multiply as with the zeros in blocks"
        yield Finding("note", "prune.pattern", what, 'prune.pattern = "1x4".')
    else:
        what = f"{blocks}: sparse int8 products multiply only these"
        yield Finding("note", "export.precision", what)


def _pattern(facts: Facts) -> Iterator[Finding]:
    prune, export = facts.recipe.prune, facts.recipe.export
    if prune.pattern == "2:4":
        what = "2:4 stops at 50 % zeros, and neither onnxruntime nor the operator library has a product for it"
        yield Finding("note", "prune.pattern", what, 'prune.pattern = "unstructured", or "1x4" for int8.')
    elif prune.pattern == "1x4" and export.precision == "fp32":
        what = f"blocks of {BLOCK} serve int8 products; in fp32 each weight is stored and multiplied by itself"
        would = 'export.precision = "int8", or prune.pattern = "unstructured", which is freer in what it keeps.'
        yield Finding("note", "prune.pattern", what, would)
