"""benchmarks/compatibility/operators.py in small: what is counted, and that every kind has a base size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import operators
from sdp_onnx.operators.library import has_library
from support.tiny_models import tiny_config

pytestmark = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


def test_a_kind_is_measured_and_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config("bert", hidden_size=32, intermediate_size=64)
    record = operators.measure("bert", config, seconds=0.1, tokens=16)
    assert [(file["precision"], file["sparsity"]) for file in record["files"]] == list(operators.VARIANTS)
    fp32, *_, int8 = record["files"]
    assert (fp32["operators"]["PackedAttention"], int8["operators"]["PackedAttentionInt8"]) == (2, 2)
    assert "Attention" not in fp32["operators"]
    # All but the head's two.
    assert fp32["share_in_library"] == pytest.approx(1 - (32 * 32 + 32 * 2) / (2 * 8192 + 32 * 32 + 32 * 2), abs=0.01)
    (tmp_path / "bert.json").write_text(json.dumps(record))
    operators.table(tmp_path)
    assert "| bert | gate: pass | 2 of 2 | yes |" in capsys.readouterr().out


@pytest.mark.parametrize("kind", operators.KINDS)
def test_every_kind_has_a_base_size(kind: str) -> None:
    config = operators.base_config(kind)
    assert config.hidden_size == (512 if kind == "mobilebert" else 768)
    assert config.num_hidden_layers >= 6
    assert config.num_attention_heads in (4, 12)
