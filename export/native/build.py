"""Compiles the operator library when the package is built or installed: hatchling's build hook.

Each kernels/<instruction set>.cpp is compiled with the flags of its instruction set, all other files for the oldest
CPU. Without a C++ compiler the package is built without the library, and `sdp_onnx` raises an error when it is needed.

Also a program: `python export/native/build.py [flags for the compiler]` compiles the library anew in a working copy,
for instance with `-fsanitize=address,undefined -g`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NATIVE = Path(__file__).parent
PACKAGE = NATIVE.parent / "sdp_onnx"

# -ffp-contract=fast: a product and a sum become one instruction also where they stand in two functions.
FLAGS = [
    *("-std=c++17", "-O3", "-ffp-contract=fast", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi"),
    *("-I", str(NATIVE / "include")),
]

AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
# The instruction sets of each CPU, by their file in kernels/, with the flags for it.
INSTRUCTION_SETS: dict[str, dict[str, list[str]]] = {
    "x86_64": {
        "avx2": AVX2,
        "avxvnni": [*AVX2, "-mavxvnni"],
        "avx512": AVX512,
        "avx512vnni": [*AVX512, "-mavx512vnni"],
    },
    "aarch64": {
        "neon": [],
        "neondotprod": ["-march=armv8.2-a+dotprod"],
        "neoni8mm": ["-march=armv8.2-a+dotprod+i8mm"],
    },
}


def machine() -> str:
    """The CPU that is compiled for, by the name that INSTRUCTION_SETS uses."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def find_compiler() -> str | None:
    """Return the system's C++ compiler: $CXX, or the first existing of the usual names."""
    named = os.environ.get("CXX")
    return next((found for name in [named, "c++", "g++", "clang++"] if name and (found := shutil.which(name))), None)


def kernel_sources(cpu: str) -> dict[Path, list[str]]:
    """The kernels of a CPU and their choice: each file with the flags of its instruction set."""
    flags: dict[str, list[str]] = {"cpu": [], "scalar": []} | INSTRUCTION_SETS.get(cpu, {})
    return {NATIVE / "kernels" / f"{name}.cpp": own for name, own in flags.items()}


def library_sources(cpu: str) -> dict[Path, list[str]]:
    """All files of the library for a CPU, each with the flags of its instruction set."""
    operators: dict[Path, list[str]] = {path: [] for path in sorted((NATIVE / "operators").glob("*.cpp"))}
    return operators | kernel_sources(cpu)


def library_name() -> str:
    return {"darwin": "libsdp_operators.dylib", "win32": "sdp_operators.dll"}.get(sys.platform, "libsdp_operators.so")


def compile_library(compiler: str, target: Path, extra: Sequence[str] = (), cpu: str | None = None) -> None:
    """Compile the operator library to `target`, with `extra` flags for the compiler and the linker.

    Raises:
        RuntimeError: the compiler failed; the message is the compiler's.
    """
    sources = library_sources(cpu or machine())
    with tempfile.TemporaryDirectory() as folder:
        objects = [Path(folder) / f"{source.parent.name}-{source.stem}.o" for source in sources]
        commands = [
            [compiler, *FLAGS, *flags, *extra, "-c", str(source), "-o", str(built)]
            for (source, flags), built in zip(sources.items(), objects, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        _run([compiler, "-shared", *extra, *map(str, objects), "-o", f"{folder}/library"])
        # Replaced in one step: a process that has the old library loaded keeps it whole.
        staged = target.with_suffix(".new")
        shutil.copyfile(f"{folder}/library", staged)
        staged.replace(target)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a program, outside of a build
    pass
else:

    class OperatorLibraryHook(BuildHookInterface):  # type: ignore[type-arg]
        """Adds the compiled library to the wheel, or to the working copy of an editable installation."""

        def initialize(self, version: str, build_data: dict[str, object]) -> None:
            target = PACKAGE / library_name()
            target.unlink(missing_ok=True)
            compiler = find_compiler()
            if compiler is None:
                self.app.display_warning("no C++ compiler (c++, g++, clang++): built without the operator library")
                return
            try:
                compile_library(compiler, target)
            except RuntimeError as error:
                self.app.display_warning(f"built without the operator library, because it does not compile: {error}")
                return
            build_data["artifacts"] = [f"/export/sdp_onnx/{library_name()}"]
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


if __name__ == "__main__":
    found = find_compiler()
    if found is None:
        sys.exit("There is no C++ compiler: install g++ or clang++.")
    compile_library(found, PACKAGE / library_name(), sys.argv[1:])
    print(PACKAGE / library_name())
