"""Find the operator library, and the kernels that it uses on this CPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path

from sdp_onnx.errors import OperatorLibraryError

DOMAIN = "sdp"
OPSET = 1

# The best first for each kind of CPU, as in export/native/kernels/cpu.cpp.
KERNELS = ("avx512vnni", "avxvnni", "avx512", "avx2", "neoni8mm", "neondotprod", "neon", "scalar")

LIBRARY_NAME = {"darwin": "libsdp_operators.dylib", "win32": "sdp_operators.dll"}.get(
    sys.platform, "libsdp_operators.so"
)


def library_path() -> Path:
    """Return the path of this installation's operator library.

    Raises:
        OperatorLibraryError: it is missing, because the package was installed without a C++ compiler.
    """
    path = Path(__file__).parents[1] / LIBRARY_NAME
    if not path.is_file():
        raise OperatorLibraryError(
            "this installation has no operator library: there was no C++ compiler when it was installed",
            where=str(path),
            hint="Install g++ or clang++ (Debian: `apt install g++`), then this package again as before, "
            "with pip's --force-reinstall --no-deps.",
        )
    return path


def has_library() -> bool:
    """Whether this installation has the operator library."""
    return (Path(__file__).parents[1] / LIBRARY_NAME).is_file()


def library_identity() -> str:
    """Return the start of the library's SHA-256; "none" without a library."""
    path = Path(__file__).parents[1] / LIBRARY_NAME
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else "none"


def instruction_set() -> str:
    """Return the kernels that a new session uses: one of KERNELS.

    The environment variable SDP_KERNELS forces one of them.

    Raises:
        OperatorLibraryError: there is no library, or SDP_KERNELS names kernels that this CPU cannot run.
    """
    library = ctypes.CDLL(os.fspath(library_path()))
    library.sdp_kernels.restype = ctypes.c_char_p
    name = bytes(library.sdp_kernels()).decode()
    if not name:
        raise OperatorLibraryError(
            f"this CPU has no kernels named {os.environ.get('SDP_KERNELS')!r}",
            where="SDP_KERNELS",
            hint=f"Unset it, or set it to one that the CPU allows of {', '.join(KERNELS)}.",
        )
    return name
