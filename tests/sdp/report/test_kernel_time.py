from __future__ import annotations

from typing import Any, get_args

from sdp.report.kernel_time import PART_NAMES, longest_cases, peak_of, time_line
from sdp.report.layer_table import layer_rows, short_name
from sdp_onnx.operators.table import Part


def layer(kind: str, kernel: str, filled: float, *weights: str) -> dict[str, Any]:
    speed = {"weights": list(weights), "kind": kind, "kernel": kernel, "gflops": 100.0}
    return speed | {"filled": filled, "break_even": 0.3 if "int8" in kind else 0.4}


def case(tokens: int, threads: int = 2) -> dict[str, Any]:
    layers = [
        layer("sparse", "avx2", 0.1, *(f"encoder.layer.0.attention.self.{name}.weight" for name in ("query", "key"))),
        layer("dense", "avx2", 0.5, "encoder.layer.0.output.dense.weight"),
        layer("dense", "onnxruntime", 0.1, "classifier.weight"),
        layer("dense", "avx2", 0.1, "encoder.layer.2.output.dense.weight"),
        layer("sparse-int8", "avx2", 0.2, "encoder.layer.1.output.dense.weight"),
        layer("dense-int8", "avx2", 0.5, "encoder.layer.3.output.dense.weight"),
    ]
    parts = [
        {"part": "sparse", "share": 0.61, "gflops": 171.4},
        {"part": "dense", "share": 0.009, "gflops": 0.1},
        {"part": "sparse-int8", "share": 0.1, "gflops": 250.0},
        {"part": "attention", "share": 0.2, "gflops": None},
        {"part": "rest", "share": 0.081, "gflops": None},
    ]
    return {"case": f"{tokens} tokens", "threads": threads, "tokens": tokens, "parts": parts, "layers": layers}


def profile(*cases: dict[str, Any], peaks: bool = True) -> dict[str, Any]:
    peak = {"threads": 2, "instruction_set": "avx2", "fp32_gflops": 480.0, "int8_gops": 1000.0}
    return {"peaks": [peak] if peaks else [], "cases": list(cases)}


def test_the_longest_case_of_each_number_of_threads() -> None:
    cases = [case(8, 1), case(128, 1), case(32, 1), case(8, 4)]
    assert longest_cases(profile(*cases)) == [cases[1], cases[3]]


def test_one_line_tells_shares_and_speeds() -> None:
    assert time_line(profile(), case(128)) == (
        "time, 128 tokens, 2 threads: sparse products 61% (171 of at most 480 GFLOP/s, avx2), "
        "sparse int8 products 10% (250 of at most 1000 GFLOP/s, avx2), attention 20%, the rest 8%"
    )


def test_without_the_library_there_is_no_peak() -> None:
    line = time_line(profile(peaks=False), case(128))
    assert "sparse products 61% (171 GFLOP/s, avx2)" in line
    assert peak_of(profile(peaks=False), 2, "sparse") is None
    assert all(row["share_of_peak"] is None for row in layer_rows(profile(peaks=False), case(128)))


def test_every_layer_has_a_name_and_a_reason() -> None:
    rows = layer_rows(profile(), case(128))
    assert [(row["name"], row["why"], row["share_of_peak"]) for row in rows] == [
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
