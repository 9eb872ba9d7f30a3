"""Find the operator library, and load it in onnxruntime."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sdp_onnx.errors import OperatorLibraryError

if TYPE_CHECKING:
    import onnxruntime as ort

DOMAIN = "sdp"
OPSET = 1

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


def register(options: ort.SessionOptions, library: Path | None = None) -> None:
    """Register the operators for sessions created with `options`.

    Args:
        options: options of the sessions.
        library: the library's file; this installation's when None.

    Raises:
        OperatorLibraryError: there is no library, or this onnxruntime cannot load it.
    """
    path = library or library_path()
    try:
        # With a bare name the system's loader would not search the model's folder.
        options.register_custom_ops_library(os.fspath(path.absolute()))
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise OperatorLibraryError(
            f"onnxruntime cannot load the operator library: {error}",
            where=str(path),
            hint="Install onnxruntime 1.17 or newer, or install this package again on this machine.",
        ) from error


def instruction_set() -> str:
    """Return the kernels that a new session uses: avx512vnni, avx512, avx2, neon or scalar.

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
            hint="Unset it, or set it to avx512vnni, avx512, avx2, neon or scalar, as the CPU allows.",
        )
    return name
