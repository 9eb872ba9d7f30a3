"""The library's declarations of onnxruntime's C interface against the published header, by the compiler.

The header is not part of this project. Debian 13 and newer: `apt install libonnxruntime-dev`.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from support.native_build import INCLUDE_FOLDERS, NATIVE, build_script

CHECK = Path(__file__).parent / "check_ort_api.cpp"
TABLE = NATIVE / "include" / "ort_functions.def"
HEADER = "onnxruntime_c_api.h"
INSTALLED = [Path(root) for root in INCLUDE_FOLDERS]


@pytest.fixture(scope="module")
def compiler() -> list[str]:
    found = build_script().find_compiler()
    if found is None:
        pytest.skip("there is no C++ compiler")
    return list(found)


def differences(compiler: list[str], folder: Path) -> str:
    """What the compiler reports about the declarations and the header in `folder`; empty if they agree."""
    folders = ["-isystem", str(folder), "-I", str(NATIVE / "include")]
    done = subprocess.run(
        [*compiler, "-std=c++17", "-fsyntax-only", "-Wno-invalid-offsetof", *folders, str(CHECK)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or done.stderr
    return done.stderr if done.returncode else ""


def positions() -> dict[str, int]:
    rows = re.findall(r"^ORT_FUNCTION\((\w+), (\d+)\)$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: int(position) for name, position in rows}


def write_header(folder: Path, functions: dict[str, int]) -> None:
    """A header of the published one's form, with these functions at these positions and every other name made up."""
    at = {position: name for name, position in functions.items()}
    check = CHECK.read_text(encoding="utf-8")
    values = re.findall(r"^VALUE\(\w+, (\w+)\)$", check, re.MULTILINE)
    numbers = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT64": 7, "BOOL": 9, "REQUIRED": 0, "OPTIONAL": 1}
    numbers |= {"FAIL": 1, "ARGUMENT": 2}
    lines = ["#include <stdint.h>", "struct OrtApi {"]
    lines += [f"  void (*{at.get(i, f'Other{i}')})(void);" for i in range(278)]
    lines += ["};", "struct OrtCustomOp {", "  uint32_t version;"]
    lines += [f"  void (*{name})(void);" for name in re.findall(r"^CALLBACK\((\w+)\)$", check, re.MULTILINE)]
    lines += ["};", "enum Values {", *(f"  {name} = {numbers[name.rpartition('_')[2]]}," for name in values), "};"]
    (folder / HEADER).write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_published_header_has_every_function_at_its_position(compiler: list[str]) -> None:
    found = next((path for root in INSTALLED if root.is_dir() for path in sorted(root.rglob(HEADER))), None)
    if found is None:
        pytest.skip("needs onnxruntime's C header (Debian 13: apt install libonnxruntime-dev)")
    assert differences(compiler, found.parent) == ""


def test_the_check_names_a_function_at_another_position(compiler: list[str], tmp_path: Path) -> None:
    functions = positions()
    write_header(tmp_path, functions)
    assert differences(compiler, tmp_path) == ""
    write_header(tmp_path, functions | {"GetDimensions": 61, "GetDimensionsCount": 62})
    report = differences(compiler, tmp_path)
    assert "OrtApi::GetDimensions is elsewhere" in report
    assert "OrtApi::GetDimensionsCount is elsewhere" in report
    assert "OrtApi::ReleaseStatus is elsewhere" not in report


def test_the_library_names_no_position_beside_the_table() -> None:
    source = (NATIVE / "include" / "ort_api.h").read_text(encoding="utf-8")
    called = set(re.findall(r"Function::(\w+)", source))
    assert called == set(positions())
