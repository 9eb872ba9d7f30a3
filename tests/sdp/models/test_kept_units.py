"""A model from which units were removed, in a folder and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from sdp.errors import ModelError, SdpError
from sdp.models.architectures import ARCHITECTURES, Architecture, find_architecture
from sdp.models.kept_units import read_kept_units, save_kept_units
from sdp.models.load import load_finetuned
from sdp.models.removal import remove_units
from sdp.models.units import find_parts
from sdp.pipeline.artifacts.kept_units import KeptUnits
from support.tiny_models import tiny_model

REMOVABLE = [row for row in ARCHITECTURES if row.removable]
TOKENS = {"input_ids": torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))}


def saved_smaller(kind: str, folder: Path) -> PreTrainedModel:
    """A model with every other unit, and none of the last part."""
    row = find_architecture(kind)
    assert row is not None
    model = tiny_model(kind, **row.config).eval()
    parts = find_parts(model)
    kept = {part.name: torch.arange(part.units) % 2 == 1 for part in parts}
    kept[parts[-1].name][:] = False
    remove_units(model, parts, kept)
    model.save_pretrained(folder)
    save_kept_units(parts, kept, folder)
    return model


@pytest.mark.parametrize("row", REMOVABLE, ids=lambda row: row.model_type)
@torch.no_grad()
def test_it_is_read_as_it_was_written(row: Architecture, tmp_path: Path) -> None:
    model = saved_smaller(row.model_type, tmp_path)
    loaded = load_finetuned(tmp_path)
    assert type(loaded) is type(model)
    assert not loaded.training
    torch.testing.assert_close(loaded(**TOKENS).logits, model(**TOKENS).logits, rtol=0, atol=0)
    stored = read_kept_units(tmp_path)
    assert stored is not None
    *others, last = stored.parts.values()
    assert all(part.kept == tuple(range(1, part.of, 2)) for part in others)
    assert last.kept == ()


def test_transformers_alone_refuses_it(tmp_path: Path) -> None:
    saved_smaller("bert", tmp_path)
    with pytest.raises(RuntimeError, match=r"mismatch|size"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_a_damaged_file_is_one_error(tmp_path: Path) -> None:
    saved_smaller("bert", tmp_path)
    path = tmp_path / KeptUnits.FILE
    whole = json.loads(path.read_text())
    name = next(iter(whole["parts"]))

    path.write_text(json.dumps({"parts": whole["parts"] | {"another.heads": whole["parts"][name]}}))
    with pytest.raises(ModelError, match="not those of the model"):
        load_finetuned(tmp_path)

    whole["parts"][name]["kept"] = []
    path.write_text(json.dumps(whole))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_finetuned(tmp_path)

    path.write_text("{")
    with pytest.raises(SdpError):
        load_finetuned(tmp_path)
