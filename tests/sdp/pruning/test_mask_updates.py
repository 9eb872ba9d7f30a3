"""Mask updates of a run: at the steps of the plan, with the plan's sparsity, and the analysis looks on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from sdp.errors import ModelError
from sdp.pruning.mask_updates import MaskUpdates, mask_plan
from sdp.pruning.masked_weights import MaskedWeights
from sdp.pruning.masks import kept_count
from sdp.recipe.pruning import PruneSection

SETTINGS = PruneSection(sparsity=0.75, mask_updates=3, ramp=0.5, schedule="uniform")
STEPS = 24


def masked_weights() -> MaskedWeights:
    generator = torch.Generator().manual_seed(0)
    return MaskedWeights({name: nn.Parameter(torch.randn(6, 8, generator=generator)) for name in "ab"})


class Looks:
    """What the recorder of an analysis is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def before_update(
        self, weights: Mapping[str, Tensor], old: Mapping[str, Tensor], new: Mapping[str, Tensor]
    ) -> None:
        counted = (sum(int(tensor.count_nonzero()) for tensor in tensors.values()) for tensors in (weights, old, new))
        self.seen.append(tuple(counted))


def test_masks_change_at_the_steps_of_the_plan_and_are_looked_at_before() -> None:
    masked, looks = masked_weights(), Looks()
    update = MaskUpdates(SETTINGS, STEPS, masked, looks.before_update)
    changed = {}
    for step in range(1, STEPS + 1):
        due = update.changes_weights(step)
        record = update.after_step(step)
        assert due == (record is not None)
        if record is not None:
            changed[step] = record
    assert changed == {
        4: {"wanted": 0.25, "sparsity": pytest.approx(0.25)},
        8: {"wanted": 0.5, "sparsity": pytest.approx(0.5)},
        12: {"wanted": 0.75, "sparsity": pytest.approx(0.75)},
    }
    assert mask_plan(SETTINGS, STEPS) == {step: record["wanted"] for step, record in changed.items()}
    kept = [2 * kept_count(48, share) for share in (0.0, 0.25, 0.5, 0.75)]
    assert looks.seen == [(before, before, after) for before, after in pairwise(kept)]
    assert sum(int(weight.count_nonzero()) for weight in masked.weights.values()) == kept[-1]


def test_what_is_kept_may_change_after_an_update_with_its_masks() -> None:
    masked, seen = masked_weights(), []

    def after_update(masks: Mapping[str, Tensor]) -> None:
        assert all(not weight[~masks[name]].count_nonzero() for name, weight in masked.weights.items())
        seen.append(sum(int(mask.count_nonzero()) for mask in masks.values()))

    update = MaskUpdates(SETTINGS, STEPS, masked, after_update=after_update)
    for step in range(1, STEPS + 1):
        update.after_step(step)
    assert seen == [2 * kept_count(48, share) for share in (0.25, 0.5, 0.75)]


def test_global_scope_ranks_all_weights_together() -> None:
    masked = masked_weights()
    with torch.no_grad():
        masked.weights["b"].add_(100)
    uncapped = {"sparsity": 0.5, "max_layer_sparsity": 1.0}
    MaskUpdates(SETTINGS.model_copy(update=uncapped), STEPS, masked).after_step(12)
    assert not masked.masks["a"].any()
    assert masked.masks["b"].all()


def test_each_matrix_takes_its_own_share_of_the_schedule() -> None:
    masked = masked_weights()
    sparsities = {"a": 0.5, "b": 0.75}
    settings = SETTINGS.model_copy(update={"scope": "allocated"})
    update = MaskUpdates(settings, STEPS, masked, sparsities=sparsities)
    for step, share in ((4, 1 / 3), (8, 2 / 3), (12, 1.0)):
        assert update.changes_weights(step)
        record = update.after_step(step)
        for name, final in sparsities.items():
            assert int(masked.masks[name].sum()) == kept_count(48, share * final)
        assert record == {"wanted": pytest.approx(share * 0.625), "sparsity": pytest.approx(share * 0.625, abs=0.02)}
    # Ranked within each matrix.
    for name, weight in masked.weights.items():
        start = masked_weights().weights[name].detach().abs()
        assert float(start[~masked.masks[name]].max()) < float(weight.detach()[masked.masks[name]].abs().min())


@pytest.mark.parametrize("pattern", ["1x4", "2:4"])
def test_a_model_without_blocks_of_four_is_refused_before_training(pattern: str) -> None:
    masked = MaskedWeights({"layer.weight": nn.Parameter(torch.zeros(8, 6))})
    settings = PruneSection.model_validate({"pattern": pattern, "sparsity": 0.5})
    with pytest.raises(ModelError, match=r"layer\.weight: a weight has 6 inputs"):
        MaskUpdates(settings, 10, masked)
