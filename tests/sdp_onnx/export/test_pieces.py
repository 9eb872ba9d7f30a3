"""A graph in pieces computes what it does as a whole, wherever it is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdp_onnx.export.pieces import PiecewiseRun
from sdp_onnx.model.model_file import load_structure, stored_tensors
from sdp_onnx.runtimes.registry import default_runtime


def in_pieces(path: Path, batches: Sequence[dict[str, Any]], work: Path) -> PiecewiseRun:
    model = load_structure(path)
    tensors = {stored.name: stored for stored in stored_tensors(model, path)}
    return PiecewiseRun(model, tensors, [dict(batch) for batch in batches], default_runtime(), work, threads=1)


@pytest.mark.parametrize("kind", ["bert", "xlmr"])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_any_cuts_give_the_outputs_of_the_whole(
    kind: str,
    step: int,
    request: pytest.FixtureRequest,
    make_batch: Callable[..., Any],
    input_names: dict[str, tuple[str, ...]],
    tmp_path: Path,
) -> None:
    path = request.getfixturevalue(f"{kind}_file")
    batches = [make_batch(input_names[kind], rows, tokens) for rows, tokens in ((3, 9), (1, 4))]
    run = in_pieces(path, batches, tmp_path)
    # Single nodes at the beginning, then the rest at once: a session for each node of the file would take long.
    for stop in range(0, min(len(run.model.graph.node), 12 * step), step):
        run.advance(stop)
    run.advance()
    whole = default_runtime().load(path, threads=1)
    for batch, values in zip(batches, run.values, strict=True):
        expected = whole.outputs(batch)
        assert values.keys() == expected.keys()
        assert all(np.allclose(values[name], expected[name], rtol=1e-4, atol=1e-5) for name in expected)
        assert np.array_equal(expected["logits"], whole.run(batch))


def test_a_weight_that_changes_changes_what_comes_after_it_alone(
    bert_file: Path, make_batch: Callable[..., Any], input_names: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    batch = make_batch(input_names["bert"], 2, 6)
    runs = [in_pieces(bert_file, [batch], tmp_path) for _ in range(2)]
    name = "bert.encoder.layer.1.output.dense.weight"
    place = next(i for i, node in enumerate(runs[0].model.graph.node) if name in node.input)
    for run in runs:
        run.advance(place)
    assert all(np.array_equal(values, runs[1].values[0][key]) for key, values in runs[0].values[0].items())
    # What is not needed any more is gone.
    assert "input_ids" not in runs[0].values[0]
    weight = runs[1].tensors[name].array()
    runs[1].weights[name] = weight * 2
    for run in runs:
        run.advance()
    assert not np.allclose(runs[0].values[0]["logits"], runs[1].values[0]["logits"])
    assert np.array_equal(runs[1].tensors[name].array(), weight)
