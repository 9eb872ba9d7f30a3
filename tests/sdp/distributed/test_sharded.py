"""What can be sharded and what cannot is told before training; tests/sdp/test_ranks.py shards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdp.distributed.sharded import (
    is_sharded,
    local,
    part_like,
    require_own_checkpoint,
    require_shardable,
    shard_settings,
    whole,
)
from sdp.errors import UsageError
from sdp.pruning.sharded import require_shardable_pruning
from sdp.recipe.pruning import PruneSection
from sdp.recipe.sections import RuntimeSection
from support import ranks

FSDP = RuntimeSection(parallel="fsdp")


def require(prune: PruneSection, runtime: RuntimeSection = FSDP) -> None:
    require_shardable_pruning(runtime, prune)


def test_what_needs_whole_gradients_or_weights_is_refused() -> None:
    require(PruneSection(criterion="magnitude"))
    with pytest.raises(UsageError, match="needs full gradients") as caught:
        require(PruneSection(criterion="taylor"))
    assert "the criteria magnitude, random, lamp, lookahead." in caught.value.hint
    with pytest.raises(UsageError, match="align-cosine and align-frobenius need full weights"):
        require(PruneSection.model_validate({"criterion": "magnitude", "losses": [{"name": "align-cosine"}]}))
    with pytest.raises(UsageError, match=r"prune\.repair runs the whole network in each process"):
        require(PruneSection(criterion="magnitude", repair=True))
    with pytest.raises(UsageError, match=r'"structured" measures the whole network in each process'):
        require(PruneSection(pattern="structured"))
    with pytest.raises(UsageError, match="several times a step"):
        require(PruneSection(criterion="magnitude"), RuntimeSection(parallel="fsdp", accumulation=2))
    require_shardable(FSDP)
    with pytest.raises(UsageError, match="several times a step"):
        require_shardable(RuntimeSection(parallel="fsdp", accumulation=2))


def test_one_process_has_all_of_everything() -> None:
    assert not is_sharded(FSDP)
    tensor = torch.arange(6.0).reshape(3, 2)
    assert local(tensor) is whole(tensor) is part_like(tensor, tensor) is tensor


def test_the_layers_of_the_encoder_are_sharded_one_by_one() -> None:
    assert shard_settings(ranks.tiny_model("classification", 0))["transformer_layer_cls_to_wrap"] == ["BertLayer"]


@pytest.mark.parametrize(("written", "sharded"), [(True, False), (False, True)])
def test_a_checkpoint_of_the_other_kind_is_refused(written: bool, sharded: bool, tmp_path: Path) -> None:
    if written:
        (tmp_path / "pytorch_model_fsdp.bin").touch()
    with pytest.raises(UsageError, match="the interrupted attempt trained"):
        require_own_checkpoint(tmp_path, sharded=sharded)
    require_own_checkpoint(tmp_path, sharded=written)
