"""The kernels without onnxruntime, on this CPU and, in an emulator, on Arm.

For Arm: `apt install qemu-user` (Debian), and `g++-aarch64-linux-gnu` or `pip install ziglang`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sdp_onnx.operators.library import KERNELS, has_library, instruction_set
from support.native_build import NATIVE, build_script
from support.operators import best_kernels

EVERY_FEATURE = """
#pragma once
namespace sdp {
struct X86Features { bool avx2 = true, avx_vnni = true, avx512 = true, avx512_vnni = true; };
inline X86Features x86_features() { return {}; }
}
"""
CHECK = Path(__file__).parent / "check_kernels.cpp"

CPU_FLAGS = Path("/proc/cpuinfo").read_text(encoding="utf-8").split() if Path("/proc/cpuinfo").exists() else []
ARM_COMPILER = shutil.which("aarch64-linux-gnu-g++")
ARM_EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


def compile_check(compiler: list[str], cpu: str, folder: Path, more: dict[str, list[str]] | None = None) -> Path:
    """The check with all kernels of a CPU, as one program that needs no library; with more flags for some files."""
    build = build_script()
    objects = []
    for source, flags in build.kernel_sources(cpu).items():
        objects.append(str(folder / f"{source.stem}.o"))
        options = [*build.FLAGS, *build.understood(compiler, flags), *(more or {}).get(source.stem, [])]
        subprocess.run([*compiler, *options, "-c", str(source), "-o", objects[-1]], check=True)
    program = folder / "check"
    options = ["-std=c++17", "-O2", "-static", "-I", str(NATIVE / "include")]
    subprocess.run([*compiler, *options, str(CHECK), *objects, "-o", str(program)], check=True)
    return program


def not_optimized(cpu: str) -> dict[str, list[str]]:
    """Flags for kernels that are linked and do not run: optimizing them would take most of the compiler's time."""
    return {name: ["-O0"] for name in build_script().INSTRUCTION_SETS.get(cpu, {})}


def check(command: list[str], name: str) -> None:
    done = subprocess.run(command, env=os.environ | {"SDP_KERNELS": name}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, name), done.stdout + done.stderr


def test_every_kernel_is_checked() -> None:
    table = (NATIVE / "include" / "kernels.def").read_text(encoding="utf-8")
    source = CHECK.read_text(encoding="utf-8")
    assert [
        name for name in re.findall(r"^KERNEL\((\w+)", table, re.MULTILINE) if f"kernels.{name}(" not in source
    ] == []


def test_both_lists_of_instruction_sets_have_the_same_names() -> None:
    compiled = [name for sets in build_script().INSTRUCTION_SETS.values() for name in sets]
    assert sorted(KERNELS) == sorted([*compiled, "scalar"])


@pytest.mark.skipif(not has_library() or best_kernels() is None, reason="needs the library, and Linux on x86-64")
def test_the_best_kernels_that_the_cpu_has_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDP_KERNELS", raising=False)
    assert instruction_set() == best_kernels()


def test_the_kernels_that_this_cpu_prefers_and_plain_ones(tmp_path: Path) -> None:
    compiler = build_script().find_compiler()
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    cpu = build_script().machine()
    preferred = instruction_set() if has_library() else None
    idle = {name: flags for name, flags in not_optimized(cpu).items() if preferred not in (None, name)}
    program = compile_check(compiler, cpu, tmp_path, idle)
    check([str(program)], "scalar")
    subprocess.run([program], env=os.environ | {"SDP_KERNELS": ""}, check=True)


def test_vnni_of_256_bits_by_the_instructions_of_avx512(tmp_path: Path) -> None:
    """AVX-VNNI and AVX-512 have the same instruction on 256 bits, in two encodings; few machines have the first."""
    compiler = build_script().find_compiler()
    if compiler is None or "avx512_vnni" not in CPU_FLAGS:
        pytest.skip("needs a C++ compiler and a CPU with AVX512-VNNI")
    other_encoding = ["-mno-avxvnni", "-mavx512vl", "-mavx512vnni", "-D_mm256_dpbusd_avx_epi32=_mm256_dpbusd_epi32"]
    # In place of the header that asks the CPU.
    (tmp_path / "x86_features.h").write_text(EVERY_FEATURE, encoding="utf-8")
    any_choice = ["-iquote", str(tmp_path)]
    idle = not_optimized("x86_64")
    program = compile_check(compiler, "x86_64", tmp_path, idle | {"avxvnni": other_encoding, "cpu": any_choice})
    check([str(program)], "avxvnni")


@pytest.mark.skipif(ARM_EMULATOR is None, reason="needs qemu-user")
def test_arm_in_an_emulator(tmp_path: Path) -> None:
    build = build_script()
    compiler = [ARM_COMPILER] if ARM_COMPILER else build.zig_compiler(build.PLATFORMS["musllinux_1_2_aarch64"])
    if compiler is None:
        pytest.skip("needs g++-aarch64-linux-gnu or ziglang")
    assert ARM_EMULATOR is not None
    program = compile_check(compiler, "aarch64", tmp_path)
    for name in ("neoni8mm", "neondotprod", "neon", "scalar"):
        check([ARM_EMULATOR, "-cpu", "max", str(program)], name)
    # An older CPU takes the best that it has.
    for name, cpu in {"neon": "cortex-a72", "neondotprod": "neoverse-n1"}.items():
        done = subprocess.run([ARM_EMULATOR, "-cpu", cpu, str(program)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == name
