"""The coverage-guided fuzzer of the operators, briefly. At length, for each instruction set that the CPU has:

    PYTHONPATH=tests python tests/native/test_fuzz.py build/ && mkdir -p build/corpus
    SDP_KERNELS=avx2 build/fuzz_operators build/corpus -max_len=96 -len_control=0 -timeout=10 -max_total_time=900

Needs clang with its fuzzer: `apt install clang libclang-rt-14-dev` (Debian 12).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.native_build import build_script

HERE = Path(__file__).parent
COMPILER = shutil.which("clang++")

# Without the check of pointer arithmetic, which took most of the compiler's time: AddressSanitizer sees every access.
INSTRUMENT = ["-fsanitize=address,undefined,fuzzer-no-link", "-fno-sanitize=pointer-overflow"]
SANITIZERS = ["-gline-tables-only", "-O1", "-fno-sanitize-recover=all", *INSTRUMENT]
INPUTS = 6000
# Of full length from the start: the valid case takes eight bytes, and only the further ones edit it.
OPTIONS = [f"-runs={INPUTS}", "-seed=1", "-max_len=96", "-len_control=0", "-timeout=10"]


def build_fuzzer(folder: Path) -> Path:
    """Compile the library and the fuzzer into one program.

    Raises:
        RuntimeError: the compiler failed, for instance because its fuzzer is not installed.
    """
    build = build_script()
    sources = build.library_sources(build.machine()) | {HERE / "fuzz_operators.cpp": []}

    def run(*arguments: str) -> None:
        done = subprocess.run([str(COMPILER), *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)

    def compile_one(item: tuple[Path, list[str]]) -> str:
        source, flags = item
        target = str(folder / f"{source.parent.name}-{source.stem}.o")
        # The flags of the package, but for the optimization.
        common = [flag for flag in build.FLAGS if flag != "-O3"]
        run(*common, *flags, *SANITIZERS, "-c", str(source), "-o", target)
        return target

    program = folder / "fuzz_operators"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources.items()))
    run("-fsanitize=address,undefined,fuzzer", *objects, "-o", str(program))
    return program


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("needs clang++ (Debian: apt install clang libclang-rt-14-dev)")
    try:
        return build_fuzzer(tmp_path_factory.mktemp("fuzzer"))
    except RuntimeError as error:
        if "libclang_rt.fuzzer" in str(error):
            pytest.skip("needs clang's fuzzer (Debian: apt install libclang-rt-14-dev)")
        raise


@pytest.mark.parametrize("kernels", ["", "avx512", "avx2", "scalar"], ids=lambda name: name or "preferred")
def test_no_input_crashes_an_operator(fuzzer: Path, kernels: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(fuzzer), *OPTIONS, f"-artifact_prefix={tmp_path}/"],
        env=os.environ | {"SDP_KERNELS": kernels},
        capture_output=True,
        text=True,
        check=False,
    )
    if kernels and "that this CPU does not have" in done.stdout + done.stderr:
        pytest.skip(f"this CPU has no {kernels}")
    assert done.returncode == 0, done.stderr[-5000:] + done.stdout[-1000:]
    assert f"Done {INPUTS} runs" in done.stderr


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    print(build_fuzzer(Path(sys.argv[1])))
