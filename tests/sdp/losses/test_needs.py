"""What losses read of both networks, from their settings alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sdp.errors import ModelError
from sdp.losses.needs import live_teacher, needs_of, resolve_layers, row_keys, token_bytes
from sdp.losses.network_output import RowsKey
from sdp.recipe.losses import LOSSES, CosineLoss, HiddenLoss, KldLoss, NoLoss, RowsLoss, SquaredErrorLoss


@pytest.mark.parametrize(
    ("layers", "resolved"),
    [
        ("all", (1, 2, 3, 4, 5, 6)),
        ((-1,), (6,)),
        ((0, 1, -6, 6, -1), (0, 1, 6)),
        ((3, -2), (3, 5)),
    ],
)
def test_layers(layers, resolved: tuple[int, ...]) -> None:
    assert resolve_layers(CosineLoss(name="cosine", layers=layers), 6).layers == resolved


@pytest.mark.parametrize("layer", [7, -7, 100])
def test_a_layer_that_the_model_has_not(layer: int) -> None:
    with pytest.raises(ModelError, match=rf"6 layers, and the loss cosine asks for layer {layer}\n.*from -6 to -1"):
        resolve_layers(CosineLoss(name="cosine", layers=(1, layer)), 6)


def test_a_loss_without_layers_is_left_as_it_is() -> None:
    loss = KldLoss(name="kld")
    assert resolve_layers(loss, 6) is loss


def test_rows_that_two_losses_read_are_needed_once() -> None:
    first = CosineLoss(name="cosine", layers=(-1, 2))
    needs = needs_of((first, LOSSES["cross-correlation"].settings(name="cross-correlation")), 6)
    assert needs.rows == (RowsKey("mean", 6), RowsKey("mean", 2))
    assert (needs.logits, needs.weights) == (False, False)


def test_the_labels_alone_need_no_teacher() -> None:
    assert not needs_of((NoLoss(name="none"),), 6).teacher
    assert needs_of((NoLoss(name="none"), HiddenLoss(name="hidden")), 6).teacher


def test_the_settings_of_a_loss_that_reads_rows_choose_them() -> None:
    for row in LOSSES.values():
        assert (row.reads == "rows") == issubclass(row.settings, RowsLoss)
    with pytest.raises(TypeError, match="not KldLoss"):
        row_keys(KldLoss(name="kld"), 6)


def test_outputs_of_every_token() -> None:
    losses = (SquaredErrorLoss(name="squared-error", layers=(2, -1)), HiddenLoss(name="hidden", layers=(-1,)))
    assert needs_of(losses, 6).token_outputs("classification") == 2
    assert needs_of((KldLoss(name="kld"),), 6).token_outputs("tagging") == 1
    assert needs_of((KldLoss(name="kld"),), 6).token_outputs("classification") == 0
    # Two layers of 100,000 tokens of 384 features in half precision.
    assert token_bytes(2, 100_000, 384) == 153_600_000
    assert live_teacher(2, 100_000, 384, cache_gb=0.153)
    assert not live_teacher(2, 100_000, 384, cache_gb=0.154)
    assert not live_teacher(0, 100_000, 384, cache_gb=0)


def test_the_tables_need_no_torch() -> None:
    code = "import sys, sdp.losses.needs, sdp.recipe.criteria, sdp.models.architectures; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
