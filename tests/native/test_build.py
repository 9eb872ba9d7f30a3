"""The build hook: which compiler it takes, and the wheels that it makes for other platforms."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from support.native_build import NATIVE, build_script
from support.operators import best_kernels

ZIG = find_spec("ziglang") is not None
# How a library of a system begins: ELF, Mach-O of 64 bits, PE.
MAGIC = {"linux": b"\x7fELF", "darwin": b"\xcf\xfa\xed\xfe", "win32": b"MZ"}


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The build script, on a machine of which nothing is known."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("SDP_WHEEL_PLATFORM", raising=False)
    return build_script()


def needed(build: ModuleType) -> list[str]:
    """What the build installs besides hatchling."""
    hook = object.__new__(build.OperatorLibraryHook)
    found: list[str] = hook.dependencies()
    return found


def test_the_compiler_of_the_system_comes_first(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "g++" else None)
    assert build.find_compiler() == ["/usr/bin/g++"]
    assert needed(build) == []
    # A wheel for another platform is made by a compiler that knows it.
    monkeypatch.setenv("SDP_WHEEL_PLATFORM", "win_amd64")
    assert needed(build) == [build.ZIGLANG]


def test_without_one_the_build_installs_a_compiler(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("sysconfig.get_config_var", lambda _name: "aarch64-unknown-linux-musl")
    assert needed(build) == [build.ZIGLANG]
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert build.find_compiler() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    assert build.find_compiler() == [sys.executable, "-m", "ziglang", "c++", "-target", "aarch64-linux-musl"]


def test_a_cpu_without_kernels_needs_no_compiler(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("platform.machine", lambda: "ppc64le")
    assert needed(build) == []
    assert build.find_compiler() is None


def test_zig_has_features_in_place_of_architectures(build: ModuleType) -> None:
    flags = build.INSTRUCTION_SETS["aarch64"]["neoni8mm"]
    assert build.understood(["g++"], flags) == ["-march=armv8.2-a+dotprod+i8mm"]
    assert build.understood(["python", "-m", "ziglang", "c++"], flags) == ["-mcpu=generic+v8_2a+dotprod+i8mm"]
    assert build.understood(["ziglang"], build.AVX2) == build.AVX2


def test_a_tag_and_its_target_are_of_the_same_system(build: ModuleType) -> None:
    for tag, platform in build.PLATFORMS.items():
        assert tag.endswith(("arm64", "aarch64") if platform.cpu == "aarch64" else ("x86_64", "amd64"))
        assert platform.cpu in build.INSTRUCTION_SETS
        if versions := re.search(r"(?:manylinux|macosx)_(\d+)_(\d+)", tag):
            assert platform.target.endswith(".".join(versions.groups()))


@pytest.mark.slow
@pytest.mark.skipif(not ZIG, reason='needs ziglang: pip install -e ".[wheels]"')
def test_one_machine_makes_the_wheels_of_all_platforms(tmp_path: Path) -> None:
    own = {path: path.stat().st_mtime_ns for path in NATIVE.parent.joinpath("sdp_onnx").glob("*sdp_operators*")}
    subprocess.run([sys.executable, NATIVE / "wheels.py", "--out", tmp_path], check=True)
    platforms = build_script().PLATFORMS
    wheels = {path.stem.removeprefix("sdp-0.1.0-py3-none-"): path for path in tmp_path.glob("*.whl")}
    assert wheels.keys() == platforms.keys()
    for tag, path in wheels.items():
        with zipfile.ZipFile(path) as wheel:
            found = [name for name in wheel.namelist() if "sdp_operators" in name]
            assert found == [f"sdp_onnx/{build_script().library_name(platforms[tag].system)}"]
            library = wheel.read(found[0])
        assert library.startswith(MAGIC[platforms[tag].system])
        assert b"RegisterCustomOps" in library
        if tag.startswith("manylinux"):
            assert max(int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", library)) <= 17
        # No library of C++ that the machine would need to have. (LLVM's looks for Apple's old one.)
        assert not re.search(rb"libstdc\+\+(-6\.dll|\.so)|libc\+\+\.(so|dll|1\.dylib)|GLIBCXX_", library)
    # The working copy keeps its own.
    assert {path: path.stat().st_mtime_ns for path in own} == own


@pytest.mark.slow
@pytest.mark.skipif(not ZIG or best_kernels() is None, reason="needs ziglang, and Linux on x86-64")
def test_without_a_compiler_the_library_is_made_and_loads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    variables = {key: value for key, value in os.environ.items() if key not in ("CXX", "SDP_WHEEL_PLATFORM")}
    subprocess.run(command, cwd=NATIVE.parents[1], env=variables | {"PATH": str(tmp_path)}, check=True)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        library = ctypes.CDLL(wheel.extract(f"sdp_onnx/{build_script().library_name()}", tmp_path))
    library.sdp_kernels.restype = ctypes.c_char_p
    # Not only the plain ones: a compiler's own way to ask the CPU may know nothing.
    assert library.sdp_kernels().decode() == best_kernels()
