from __future__ import annotations

from typing import get_args

from sdp.report.kernel_time import PART_NAMES, layer_rows, longest_cases, peak_of, short_name, time_line
from sdp_onnx.bench.results import CaseProfile, LayerProfile, ModelProfile, PartProfile
from sdp_onnx.export.kernel_choice import LayerKind
from sdp_onnx.operators.table import Part
from sdp_onnx.runtimes.machine_peak import MachinePeak


def layer(kind: LayerKind, kernel: str, filled: float, *weights: str) -> LayerProfile:
    break_even = 0.3 if "int8" in kind else 0.4
    return LayerProfile(weights, kind, kernel, 32, 32, filled, filled, break_even, 1.0, 100.0)


def case(tokens: int, threads: int = 2) -> CaseProfile:
    layers = (
        layer("sparse", "avx2", 0.1, *(f"encoder.layer.0.attention.self.{name}.weight" for name in ("query", "key"))),
        layer("dense", "avx2", 0.5, "encoder.layer.0.output.dense.weight"),
        layer("dense", "onnxruntime", 0.1, "classifier.weight"),
        layer("dense", "avx2", 0.1, "encoder.layer.2.output.dense.weight"),
        layer("sparse-int8", "avx2", 0.2, "encoder.layer.1.output.dense.weight"),
        layer("dense-int8", "avx2", 0.5, "encoder.layer.3.output.dense.weight"),
    )
    parts = (
        PartProfile("sparse", 1.0, 0.61, 171.4),
        PartProfile("dense", 1.0, 0.009, 0.1),
        PartProfile("sparse-int8", 1.0, 0.1, 250.0),
        PartProfile("attention", 1.0, 0.2, None),
        PartProfile("rest", 1.0, 0.081, None),
    )
    return CaseProfile(f"{tokens} tokens", 1, tokens, threads, 5, tokens, 10.0, parts, layers)


def profile(*cases: CaseProfile, peaks: bool = True) -> ModelProfile:
    return ModelProfile((MachinePeak(2, "avx2", 480.0, 1000.0),) if peaks else (), cases)


def test_the_longest_case_of_each_number_of_threads() -> None:
    cases = [case(8, 1), case(128, 1), case(32, 1), case(8, 4)]
    assert longest_cases(profile(*cases)) == [cases[1], cases[3]]


def test_one_line_shows_shares_and_speeds() -> None:
    assert time_line(profile(), case(128)) == (
        "time, 128 tokens, 2 threads: sparse products 61% (171 of at most 480 GFLOP/s, avx2), "
        "sparse int8 products 10% (250 of at most 1000 GFLOP/s, avx2), attention 20%, the rest 8%"
    )


def test_without_the_library_there_is_no_peak() -> None:
    line = time_line(profile(peaks=False), case(128))
    assert "sparse products 61% (171 GFLOP/s, avx2)" in line
    assert peak_of(profile(peaks=False), 2, "sparse") is None
    assert all(row.share_of_peak is None for row in layer_rows(profile(peaks=False), case(128)))


def test_every_layer_has_a_name_and_a_reason() -> None:
    rows = layer_rows(profile(), case(128))
    assert [(row.name, row.why, row.share_of_peak) for row in rows] == [
        ("0.attention.self.query, key", "10% nonzeros, below 40%", 100 / 480),
        ("0.output.dense", "50% nonzeros, sparse pays below 40%", 100 / 480),
        ("classifier", "left to onnxruntime", 100 / 480),
        ("2.output.dense", "no sparse product for its shape", 100 / 480),
        ("1.output.dense", "20% 1x4 blocks with a nonzero, below 30%", 100 / 1000),
        ("3.output.dense", "50% 1x4 blocks with a nonzero, sparse pays below 30%", 100 / 1000),
    ]


def test_every_part_of_a_profile_has_a_name() -> None:
    assert set(PART_NAMES) == set(get_args(Part))


def test_short_names() -> None:
    assert short_name("bert.encoder.layer.11.output.dense.weight") == "11.output.dense"
    assert short_name("classifier.out_proj.weight") == "classifier.out_proj"
