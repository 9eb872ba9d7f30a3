"""Compiles the operator library when the package is built or installed: hatchling's build hook.

Each kernels/<instruction set>.cpp is compiled with the flags of its instruction set, all other files for the oldest
CPU. Where the machine has no C++ compiler, the one in the package ziglang does it, which the build then installs. On
CPUs without kernels of their own, or where no compiler works, the package is built without the library, and `sdp_onnx`
raises an error when it is needed.

SDP_WHEEL_PLATFORM=<key of PLATFORMS> makes a wheel for that platform, on any machine; see wheels.py.

Also a program: `python export/native/build.py [flags for the compiler]` compiles the library anew in a working copy,
for instance with `-fsanitize=address,undefined -g`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

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


class Platform(NamedTuple):  # a dataclass would not do: hatchling runs this file outside of sys.modules
    """What a wheel is for.

    Attributes:
        cpu: by the name that INSTRUCTION_SETS uses.
        system: as `sys.platform` has it.
        target: what zig calls it, with the oldest system or C library that it may have.
    """

    cpu: str
    system: str
    target: str


# By the platform tag of the wheel.
PLATFORMS = {
    "manylinux_2_17_x86_64": Platform("x86_64", "linux", "x86_64-linux-gnu.2.17"),
    "manylinux_2_17_aarch64": Platform("aarch64", "linux", "aarch64-linux-gnu.2.17"),
    "musllinux_1_2_x86_64": Platform("x86_64", "linux", "x86_64-linux-musl"),
    "musllinux_1_2_aarch64": Platform("aarch64", "linux", "aarch64-linux-musl"),
    "macosx_11_0_x86_64": Platform("x86_64", "darwin", "x86_64-macos.11.0"),
    "macosx_11_0_arm64": Platform("aarch64", "darwin", "aarch64-macos.11.0"),
    "win_amd64": Platform("x86_64", "win32", "x86_64-windows-gnu"),
}
WANTED = "SDP_WHEEL_PLATFORM"
# The oldest that was tried.
ZIGLANG = "ziglang>=0.17.1"


def machine() -> str:
    """The CPU of this machine, by the name that INSTRUCTION_SETS uses."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


def this_platform() -> Platform | None:
    """The platform of this machine; None where it is none of PLATFORMS."""
    libc = "musl" if "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")) else "gnu"
    return next(
        (
            own
            for own in PLATFORMS.values()
            if (own.cpu, own.system) == (machine(), sys.platform) and (own.system != "linux" or libc in own.target)
        ),
        None,
    )


def system_compiler() -> list[str] | None:
    """The command of the system's C++ compiler: $CXX, or the first existing of the usual names."""
    named = os.environ.get("CXX")
    found = next((path for name in [named, "c++", "g++", "clang++"] if name and (path := shutil.which(name))), None)
    return None if found is None else [found]


def zig_compiler(target: Platform | None) -> list[str] | None:
    """The command of ziglang's C++ compiler for a platform; None where the package is not installed."""
    if target is None or importlib.util.find_spec("ziglang") is None:
        return None
    # Without a target zig would compile for the CPU of this machine alone.
    return [sys.executable, "-m", "ziglang", "c++", "-target", target.target]


def find_compiler() -> list[str] | None:
    """The command of a C++ compiler for this machine: the system's, or ziglang's."""
    return system_compiler() or zig_compiler(this_platform())


def understood(compiler: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Flags as a compiler takes them: zig has features of CPUs in place of versions of their architecture."""
    if "ziglang" not in compiler:
        return list(flags)
    return [flag.replace("-march=armv8.2-a", "-mcpu=generic+v8_2a") for flag in flags]


def kernel_sources(cpu: str) -> dict[Path, list[str]]:
    """The kernels of a CPU and their choice: each file with the flags of its instruction set."""
    flags: dict[str, list[str]] = {"cpu": [], "scalar": []} | INSTRUCTION_SETS.get(cpu, {})
    return {NATIVE / "kernels" / f"{name}.cpp": own for name, own in flags.items()}


def library_sources(cpu: str) -> dict[Path, list[str]]:
    """All files of the library for a CPU, each with the flags of its instruction set."""
    operators: dict[Path, list[str]] = {path: [] for path in sorted((NATIVE / "operators").glob("*.cpp"))}
    return operators | kernel_sources(cpu)


def library_name(system: str = sys.platform) -> str:
    """File name of the operator library on a system."""
    return {"darwin": "libsdp_operators.dylib", "win32": "sdp_operators.dll"}.get(system, "libsdp_operators.so")


def compile_library(compiler: Sequence[str], target: Path, extra: Sequence[str] = (), cpu: str | None = None) -> None:
    """Compile the operator library to `target`.

    Args:
        compiler: the command, such as that of `find_compiler`.
        target: the file.
        extra: flags for the compiler and the linker.
        cpu: the CPU that is compiled for; this machine's without it.

    Raises:
        RuntimeError: the compiler failed; the message is the compiler's.
    """
    sources = library_sources(cpu or machine())
    with tempfile.TemporaryDirectory() as folder:
        objects = [Path(folder) / f"{source.parent.name}-{source.stem}.o" for source in sources]
        commands = [
            [*compiler, *FLAGS, *understood(compiler, flags), *extra, "-c", str(source), "-o", str(built)]
            for (source, flags), built in zip(sources.items(), objects, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        # nodelete: onnxruntime unloads the library with the last session, and threads that end later would run code of
        # it that is gone. -s: without names that only a debugger needs, unless the caller has flags of its own.
        own = {".so": ["-Wl,-z,nodelete"], ".dylib": [f"-Wl,-install_name,@rpath/{target.name}"]}
        options = ["-shared", *own.get(target.suffix, []), *(extra or ["-s"])]
        _run([*compiler, *options, *map(str, objects), "-o", f"{folder}/{target.name}"])
        # Replaced in one step: a process that has the old library loaded keeps it whole.
        staged = target.with_suffix(".new")
        shutil.copyfile(f"{folder}/{target.name}", staged)
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

        def dependencies(self) -> list[str]:
            """What the build needs besides hatchling: a compiler, where this machine has none for the library."""
            zig = os.environ.get(WANTED) or (system_compiler() is None and this_platform() is not None)
            return [ZIGLANG] if zig else []

        def initialize(self, version: str, build_data: dict[str, object]) -> None:
            tag = os.environ.get(WANTED)
            if tag and tag not in PLATFORMS:
                raise RuntimeError(f"{WANTED} is {tag}, and not one of {', '.join(PLATFORMS)}")
            wanted = PLATFORMS[tag] if tag else None
            name = library_name(wanted.system if wanted else sys.platform)
            editable = version == "editable"
            folder = PACKAGE if editable else Path(self._folder.name)
            target = folder / name
            target.unlink(missing_ok=True)
            compiler = zig_compiler(wanted) if wanted else find_compiler()
            if compiler is None:
                self.app.display_warning("no C++ compiler (c++, g++, clang++): built without the operator library")
                return
            try:
                compile_library(compiler, target, cpu=wanted.cpu if wanted else None)
            except RuntimeError as error:
                if wanted:
                    raise
                self.app.display_warning(f"built without the operator library, because it does not compile: {error}")
                return
            if not editable:
                build_data["force_include"] = {str(target): f"sdp_onnx/{name}"}
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{tag or sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

        def finalize(self, version: str, build_data: dict[str, object], artifact_path: str) -> None:
            self._folder.cleanup()

        @cached_property
        def _folder(self) -> tempfile.TemporaryDirectory[str]:
            """Where a wheel's library is made: that of the working copy stays as it is."""
            return tempfile.TemporaryDirectory()


if __name__ == "__main__":
    found = find_compiler()
    if found is None:
        sys.exit("There is no C++ compiler: install g++ or clang++, or the package ziglang.")
    compile_library(found, PACKAGE / library_name(), sys.argv[1:])
    print(PACKAGE / library_name())
