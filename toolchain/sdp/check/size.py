"""Findings on the file's size by part and on the effect of the encoding."""

from __future__ import annotations

from collections.abc import Iterator

from sdp.check.facts import Facts, Finding
from sdp.check.forecast import float_bytes
from sdp_onnx.export.encode import SPARSE_FROM
from sdp_onnx.model.encodings import INDEX_BYTES

# Embeddings with a smaller share of the file get no finding.
_WORTH_A_WORD = 0.25


def size_findings(facts: Facts) -> Iterator[Finding]:
    """Yield findings on bytes."""
    yield from _coo(facts)
    yield from _embeddings(facts)
    yield from _trimmed(facts)


def _coo(facts: Facts) -> Iterator[Finding]:
    sparsity, itemsize = facts.recipe.prune.sparsity, float_bytes(facts.recipe.export)
    even = 1 - itemsize / (itemsize + INDEX_BYTES)
    if facts.recipe.export.encoding != "coo" or sparsity > even:
        return
    if sparsity < SPARSE_FROM:
        what = f"coo is for tensors that are at least {SPARSE_FROM:.0%} zeros: at {sparsity:.0%} they are stored dense"
    else:
        ratio = (1 - sparsity) * (itemsize + INDEX_BYTES) / itemsize
        what = (
            f"coo takes {itemsize + INDEX_BYTES} bytes for each nonzero weight: at {sparsity:.0%} zeros the "
            f"pruned layers take {ratio:.2f} times what they take dense"
        )
    yield Finding("warning", "export.encoding", what, f'encoding = "auto", or prune.sparsity above {even:.2f}.')


def _embeddings(facts: Facts) -> Iterator[Finding]:
    after = facts.bytes_after
    if after is None:
        return
    share = after["embeddings"] / max(1, sum(after.values()))
    if share < _WORTH_A_WORD:
        return
    what = f"embeddings are {share:.0%} of the predicted file ({after['embeddings'] / 1e6:,.0f} MB) and are not pruned"
    # On a GPU int8 would cost more than it saves: its kernels are for the CPU.
    quartered = facts.recipe.export.precision == "int8"
    ways = [] if quartered or facts.recipe.bench.provider == "cuda" else ['export.precision = "int8" (a quarter)']
    if facts.recipe.vocabulary is None:
        ways.append("[vocabulary] with a size, which keeps the pieces that your texts use")
    sentence = f"{what}; int8 stores them in a quarter already" if quartered else what
    yield Finding(
        "note",
        "vocabulary" if facts.recipe.vocabulary is None else "export.precision",
        sentence,
        f"{' or '.join(ways)}." if ways else "",
    )


def _trimmed(facts: Facts) -> Iterator[Finding]:
    ratio, whole = facts.size_ratio, facts.bytes_pretrained
    if facts.recipe.vocabulary is None or ratio is None or whole is None or facts.bytes_after is None:
        return
    what = (
        f"gate, benchmark and report compare with the dense model of the trimmed vocabulary: the predicted file is "
        f"{ratio:.2f} of that one, and {sum(facts.bytes_after.values()) / max(1, whole):.2f} of the pretrained model"
    )
    yield Finding("note", "vocabulary.size", what)
