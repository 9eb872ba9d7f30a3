"""The peak memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path

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
