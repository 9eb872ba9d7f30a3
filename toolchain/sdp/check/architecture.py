"""Findings on the model's architecture."""

from __future__ import annotations

from collections.abc import Iterator

from sdp.check.facts import Facts, Finding
from sdp.models.architectures import find_architecture
from sdp.recipe.criteria import CRITERIA

_SUBJECT = "model.name"


def architecture_findings(facts: Facts) -> Iterator[Finding]:
    """Findings on the architecture; none where the model is not on this machine yet."""
    kind = facts.model_type
    if kind is None:
        return
    row, criterion = find_architecture(kind), facts.recipe.prune.criterion
    if row is None:
        what = f"sdp has no row for {kind} models: whether all their matrices can be pruned is found when one is loaded"
        yield Finding("note", _SUBJECT, what)
        return
    if not row.tested:
        yield Finding("note", _SUBJECT, f"no {kind} model has gone through the whole pipeline in the project's tests")
    if CRITERIA[criterion].needs_paired_layers and not row.lookahead:
        what = f"{criterion} pairs six matrices of a layer, and the layers of {kind} models are made otherwise"
        yield Finding("warning", "prune.criterion", what, "another criterion, such as magnitude.")
    on_library = facts.machine.library and facts.recipe.export.encoding in ("auto", "kernel")
    if on_library and facts.recipe.bench.provider == "cpu" and not row.packed_attention:
        what = f"the attention of {kind} models stays with onnxruntime: the operator library has no pattern for it"
        yield Finding("note", _SUBJECT, what)
