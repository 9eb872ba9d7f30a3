from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdp_onnx.runtimes import environment
from sdp_onnx.runtimes.environment import (
    cpu_model,
    cpu_quota,
    environment_record,
    instruction_sets,
    parse_vm_hwm,
    peak_memory_bytes,
)

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t: sse2 sse4_2 avx avx2 avx512f avx512_vnni amx_int8\n\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm asimddp sve i8mm\n"


def test_cpuinfo_is_read() -> None:
    assert cpu_model(X86) == "Some CPU @ 2 GHz"
    assert instruction_sets(X86) == ["amx_int8", "avx", "avx2", "avx512_vnni", "avx512f", "sse4_2"]
    assert cpu_model(ARM) == ""
    assert instruction_sets(ARM) == ["asimd", "asimddp", "i8mm", "sve"]
    assert (cpu_model(""), instruction_sets("")) == ("", [])


@pytest.mark.parametrize(
    ("cpu_max", "quota", "period", "expected"),
    [
        ("max 100000\n", "", "", None),
        ("150000 100000\n", "", "", 1.5),
        ("", "-1\n", "100000\n", None),
        ("", "200000\n", "100000\n", 2.0),
        ("", "", "", None),
        ("nonsense", "", "", None),
        ("100 0", "", "", None),
    ],
)
def test_quotas_of_both_cgroup_versions(cpu_max: str, quota: str, period: str, expected: float | None) -> None:
    assert cpu_quota(cpu_max, quota, period) == expected


def test_the_record_is_json_and_true() -> None:
    record = json.loads(json.dumps(environment_record()))
    assert record["logical_cores"] == os.cpu_count()
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "CPUExecutionProvider" in record["providers"]
    assert {"numpy", "onnx"} <= record["packages"].keys()


def test_a_gpu_is_listed_and_a_failing_tool_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setattr(environment.shutil, "which", lambda _name: str(tool))
    for script, expected in (("echo 'NVIDIA X'; echo 'NVIDIA Y'", ["NVIDIA X", "NVIDIA Y"]), ("exit 9", [])):
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        assert environment_record()["gpus"] == expected
    tool.unlink()
    assert environment_record()["gpus"] == []


def test_peak_memory_is_parsed() -> None:
    assert parse_vm_hwm("Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n") == 1234 * 1024
    assert parse_vm_hwm("Name:\tpython\n") is None
    assert parse_vm_hwm("VmHWM:\tmany kB\n") is None


def test_peak_memory_grows_with_what_the_process_held() -> None:
    code = (
        "from sdp_onnx.runtimes.environment import peak_memory_bytes as peak\n"
        "before = peak(); block = bytearray(b'x') * 50_000_000; del block; print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 45_000_000 < int(done.stdout) < 70_000_000
    assert (peak_memory_bytes() or 0) > 10_000_000
