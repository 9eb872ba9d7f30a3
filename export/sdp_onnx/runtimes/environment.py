"""The environment of a measurement: processor, memory, limits, software. Recorded with every result; never fails."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "onnx")

# Instruction sets that decide which kernels run.
_INSTRUCTION_SETS = re.compile(r"sse4_2|avx|avx2|fma|f16c|avx512\w*|avx_vnni\w*|amx_\w+|asimd|asimddp|i8mm|bf16|sve2?")

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def environment_record() -> dict[str, object]:
    """Describe this machine and its software as JSON types; unknown values are None or empty."""
    runtime = _runtime()
    return {
        **machine_record(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": _versions() | runtime["packages"],
        "providers": runtime["providers"],
        "gpus": _gpus(),
    }


def machine_record() -> dict[str, object]:
    """Return the processor and memory part of the record; loads no library."""
    cpuinfo = _read(Path("/proc/cpuinfo"))
    return {
        "cpu": cpu_model(cpuinfo) or platform.processor() or platform.machine(),
        "instruction_sets": instruction_sets(cpuinfo),
        "logical_cores": os.cpu_count(),
        "allowed_cores": _allowed_cores(),
        "cpu_quota": cpu_quota(
            _read(_CGROUP_V2), _read(_CGROUP_V1 / "cpu.cfs_quota_us"), _read(_CGROUP_V1 / "cpu.cfs_period_us")
        ),
        "memory_bytes": _memory_bytes(),
    }


def cpu_model(cpuinfo: str) -> str:
    """Return the processor's name in the text of /proc/cpuinfo; empty without one."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match.group(1).strip() if match else ""


def instruction_sets(cpuinfo: str) -> list[str]:
    """Return the instruction sets in the text of /proc/cpuinfo that select kernels, sorted."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    flags = match.group(1).split() if match else []
    return sorted(flag for flag in flags if _INSTRUCTION_SETS.fullmatch(flag))


def cpu_quota(cpu_max: str, quota_us: str = "", period_us: str = "") -> float | None:
    """Return the cores that the container may use, from cgroup v2's cpu.max or v1's two files; None without a limit."""
    quota, _, period = cpu_max.strip().partition(" ") if cpu_max else (quota_us.strip(), "", period_us.strip())
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _allowed_cores() -> int | None:
    # Not available on macOS and Windows.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _runtime() -> dict[str, Any]:
    try:
        from sdp_onnx.runtimes.registry import default_runtime
    except ImportError:
        return {"packages": {}, "providers": []}
    return default_runtime().environment()


def _gpus() -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run(
            [command, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int | None:
    """Peak resident memory of this process in bytes; None where the system does not report it.

    On Linux from VmHWM: ru_maxrss starts from the size of the parent that forked the process, also across exec.
    """
    try:
        return parse_vm_hwm(_STATUS.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return _peak_by_getrusage()


def parse_vm_hwm(status: str) -> int | None:
    """Return VmHWM of a /proc/<pid>/status text in bytes; None where the line is missing or has another form."""
    for line in status.splitlines():
        match line.split():
            case ["VmHWM:", kibibytes, "kB"] if kibibytes.isdecimal():
                return int(kibibytes) * 1024
    return None


def _peak_by_getrusage() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
