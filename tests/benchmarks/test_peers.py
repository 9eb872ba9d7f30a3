"""benchmarks/peers/peers.py at a tiny size, on the engines that need no environment of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import peers
from peers_lengths import QUANTILES, text_lengths
from peers_worker import divided
from sdp_onnx.operators.library import has_library


def measure(*arguments: str | Path) -> None:
    """Run the program's `run` in a process of its own: others that it starts write to its streams."""
    command = [sys.executable, peers.__file__, "run", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def show(*arguments: str | Path) -> str:
    done = CliRunner().invoke(peers.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")
@pytest.mark.slow  # a program that is run by hand
def test_a_measurement_a_table_and_a_picture(tmp_path: Path) -> None:
    output = tmp_path / "results" / "peers.json"
    settings = ["--size", "tiny", "--batches", "2", "--mixed", "4", "--threads", "1", "--rounds", "2"]
    settings += ["--models", str(tmp_path / "models"), "--output", str(output)]
    engines = "ort-fp32,ort-int8,ort-int8-static,openvino,ours-fp32-90,ours-int8-0,ours-int8-90"
    measure("--lengths", "32", "--texts", "sst2", "--engines", engines, *settings)
    assert list(json.loads(output.read_text())["skipped"]) == ["openvino"]
    measure("--lengths", "8,32", "--texts", "", "--engines", "ort-fp32,ours-fp32-90", *settings, "--resume")

    results = json.loads(output.read_text())
    kept, mixed, added = results["cells"]
    made = [name for name in engines.split(",") if name != "openvino"]
    assert (kept["length"], list(kept["engines"])) == (32, made)
    assert (mixed["batch"], mixed["length"], list(mixed["engines"])) == (4, "sst2", made)
    assert (added["length"], list(added["engines"])) == (8, ["ort-fp32", "ours-fp32-90"])
    for cell in results["cells"]:
        assert cell["failed"] == {}
        for name, measured in cell["engines"].items():
            assert len(measured["turns_ms"]) == 2
            assert measured["relative_error"] < (1e-5 if "fp32" in name else 0.2)
            assert measured["peak_memory"] > measured["memory_before"]
            fastest = measured["by_calls"][str(measured["calls"])]
            assert fastest["p50_ms"] == measured["p50_ms"] == min(of["p50_ms"] for of in measured["by_calls"].values())
    assert list(kept["engines"]["ort-fp32"]["by_calls"]) == ["1"]
    assert list(mixed["engines"]["ort-fp32"]["by_calls"]) == ["1", "4"]
    # 90 % zeros, one and a quarter times their bytes.
    sizes = {name: engine["encoder_bytes"] for name, engine in results["engines"].items()}
    assert sizes["ours-fp32-90"] < 0.5 * sizes["ort-fp32"]
    assert results["engines"]["ours-int8-0"]["zeros"] == {"pattern": "1x4", "percent": 0}
    ratio = kept["ratios"]["ours-int8-90"]["ort-fp32"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    (limits,) = results["limits"]
    assert min(limits[key] for key in ("fp32_gflops", "int8_gops", "memory_gb_per_second")) > 0
    for profile in results["profiles"]["ours-fp32-90"]:
        assert sum(part["share"] for part in profile["parts"]) == pytest.approx(1)
        assert 0 < profile["of_peak"]["sparse"] < 1

    table = show("table", "--batch", "2", "--threads", "1", "--output", output)
    assert "| engine | 8 tokens | 32 tokens |" in table
    assert "| engine | 4 x sst2 |" in table
    assert "| sdp int8, dense | the fastest peer |" in table
    assert "Not run: OpenVINO" not in table
    show("plot", "--output", output)
    assert "batch 2, 1 thread" in output.with_suffix(".svg").read_text()


@pytest.mark.slow
def test_engines_that_give_other_answers_are_left_out(tmp_path: Path) -> None:
    """A file of other weights under the name of the right one."""
    output, models = tmp_path / "peers.json", tmp_path / "models"
    settings = ["--size", "tiny", "--batches", "1", "--threads", "1", "--rounds", "2", "--lengths", "8", "--texts", ""]
    settings += ["--engines", "ort-fp32,ort-int8", "--output", str(output), "--models", str(models)]
    measure(*settings)
    (models / "dense-1x4-90.onnx").replace(models / "dense-unstructured-90.onnx")
    measure(*settings)
    (cell,) = json.loads(output.read_text())["cells"]
    assert list(cell["engines"]) == ["ort-int8"]
    assert "differ from torch's" in cell["failed"]["ort-fp32"]


@pytest.mark.parametrize("name", QUANTILES)
def test_texts_are_spread_over_their_distribution(name: str) -> None:
    known = QUANTILES[name]
    assert list(known) == sorted(known)
    lengths = text_lengths(name, 1024)
    quantiles = np.quantile(lengths, np.linspace(0, 1, len(known)))
    assert np.abs(quantiles[1:-1] - known[1:-1]).max() <= 0.01 * known[-1]
    # The half of them that comes first is as spread.
    assert np.mean(lengths[:512]) == pytest.approx(np.mean(lengths), rel=0.01)


@given(st.integers(1, 70))
def test_every_text_stands_for_another_part_of_the_distribution(texts: int) -> None:
    lengths = text_lengths("tickets", texts)
    assert len(lengths) == texts
    assert min(lengths) >= QUANTILES["tickets"][0]
    assert max(lengths) <= QUANTILES["tickets"][-1]
    assert len(set(lengths)) == texts


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data())
def test_a_batch_divided_into_calls_keeps_its_texts(lengths: list[int], data: st.DataObject) -> None:
    rows = len(lengths)
    kept = np.arange(max(lengths)) < np.array(lengths)[:, None]
    batch = {"input_ids": np.where(kept, np.arange(1, rows + 1)[:, None], 0), "attention_mask": kept.astype(np.int64)}
    calls = data.draw(st.integers(1, rows))
    order, parts = divided(batch, calls)
    assert len(parts) == calls
    texts = [
        part["input_ids"][row, : part["attention_mask"][row].sum()].tolist()
        for part in parts
        for row in range(len(part["input_ids"]))
    ]
    assert texts == [[index + 1] * lengths[index] for index in order]
    for part in parts:
        assert part["attention_mask"].sum(axis=1).max() == part["input_ids"].shape[1]


@pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")
@pytest.mark.slow
def test_callers_share_an_engine(tmp_path: Path) -> None:
    output = tmp_path / "callers.json"
    settings = ["--size", "tiny", "--counts", "1,3", "--rounds", "2", "--seconds", "0.2", "--output", str(output)]
    command = [sys.executable, peers.__file__, "callers", "--engines", "ort-fp32,openvino,ours-fp32-90", *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    results = json.loads(output.read_text())
    assert (results["failed"], list(results["skipped"])) == ({}, ["openvino"])
    assert [cell["count"] for cell in results["callers"]] == [1, 3]
    for cell in results["callers"]:
        assert list(cell["engines"]) == ["ort-fp32", "ours-fp32-90"]
        for engine in cell["engines"].values():
            assert len(engine["settings"]) == 3
            rates = {name: setting["texts_per_second"] for name, setting in engine["settings"].items()}
            assert engine["best"] == max(rates, key=lambda name: rates[name])
            assert all(setting["p50_ms"] <= setting["p99_ms"] for setting in engine["settings"].values())
        ratio = cell["ratios"]["ours-fp32-90"]["ort-fp32"]
        assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert "| engine, best setting | 1 caller | 3 callers |" in done.stdout
    assert "| sdp fp32, 90 % zeros | 1 thread a call |" in done.stdout
