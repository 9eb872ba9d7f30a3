"""The kernels without onnxruntime, on this CPU and, in an emulator, on Arm.

For Arm: `apt install g++-aarch64-linux-gnu qemu-user` (Debian).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.native_build import NATIVE, build_script

CHECK = Path(__file__).parent / "check_kernels.cpp"

ARM_COMPILER = shutil.which("aarch64-linux-gnu-g++")
ARM_EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


def compile_check(compiler: str, cpu: str, folder: Path) -> Path:
    """The check with all kernels of a CPU, as one program that needs no library."""
    build = build_script()
    objects = []
    for source, flags in build.kernel_sources(cpu).items():
        objects.append(str(folder / f"{source.stem}.o"))
        subprocess.run([compiler, *build.FLAGS, *flags, "-c", str(source), "-o", objects[-1]], check=True)
    program = folder / "check"
    options = ["-std=c++17", "-O2", "-static", "-I", str(NATIVE / "include")]
    subprocess.run([compiler, *options, str(CHECK), *objects, "-o", str(program)], check=True)
    return program


def check(command: list[str], name: str) -> None:
    done = subprocess.run(command, env=os.environ | {"SDP_KERNELS": name}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, name), done.stdout + done.stderr


def test_every_kernel_is_checked() -> None:
    table = (NATIVE / "include" / "kernels.def").read_text(encoding="utf-8")
    source = CHECK.read_text(encoding="utf-8")
    assert [
        name for name in re.findall(r"^KERNEL\((\w+)", table, re.MULTILINE) if f"kernels.{name}(" not in source
    ] == []


def test_the_kernels_that_this_cpu_prefers_and_plain_ones(tmp_path: Path) -> None:
    compiler = build_script().find_compiler()
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    program = compile_check(compiler, build_script().machine(), tmp_path)
    check([str(program)], "scalar")
    subprocess.run([program], env=os.environ | {"SDP_KERNELS": ""}, check=True)


@pytest.mark.skipif(not (ARM_COMPILER and ARM_EMULATOR), reason="needs g++-aarch64-linux-gnu and qemu-user")
def test_arm_in_an_emulator(tmp_path: Path) -> None:
    assert ARM_COMPILER is not None
    assert ARM_EMULATOR is not None
    program = compile_check(ARM_COMPILER, "aarch64", tmp_path)
    for name in ("neon", "scalar"):
        check([ARM_EMULATOR, str(program)], name)
