"""How near to the CPU's peak the library's products are, by themselves: without rounding, activation, norm or threads.

    python benchmarks/kernels/products.py run      # a minute; needs g++ or clang++
    python benchmarks/kernels/products.py table

The shapes are the linear layers of a 768-wide encoder, 12 matrices of each one after the other. The rate counts the
weights that are kept, as a share of the peak that the same core reaches in registers. "in the cache" is a matrix of
512 inputs with every element kept, in the sparse format: what the instructions of the sparse product do at most, when
inputs come from the first cache. They take a load of 64 bytes for each multiplication of 64 bytes, where the CPU does
two of either at once, and the loads of weights and columns come on top.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "export" / "native"))

import build  # noqa: E402  # it is beside the library's sources, and no package

from sdp_onnx.runtimes.environment import environment_record  # noqa: E402
from sdp_onnx.runtimes.machine_peak import measure_peak  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "products.json"
SHAPES = {"query, key, value": (2304, 768), "first feed-forward": (3072, 768), "second feed-forward": (768, 3072)}
IN_THE_CACHE = {"in the cache": (3072, 512)}
# The dense product, and shares of the elements that are kept.
SHARES = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05)
# Above 1: every element is kept, in the sparse format.
EVERY = 2.0
GROUPS = (1, 2, 8)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)
Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


def compile_program(target: Path) -> None:
    """Compile products.cpp with the library's kernels.

    Raises:
        RuntimeError: there is no compiler, or it fails.
    """
    compiler = build.find_compiler()
    if compiler is None:
        raise RuntimeError("there is no C++ compiler")
    objects = []
    for source, flags in {
        Path(__file__).with_name("products.cpp"): [],
        **build.kernel_sources(build.machine()),
    }.items():
        objects.append(str(target.with_name(f"{source.stem}.o")))
        include = ["-I", str(build.NATIVE / "include")]
        command = [*compiler, *build.FLAGS, *build.understood(compiler, flags), *include, "-c", str(source)]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    subprocess.run([*compiler, *objects, "-o", str(target)], check=True)


def measure(program: Path, precision: str, shape: tuple[int, int], groups: int, share: float) -> tuple[float, float]:
    """Run the program; returns seconds, and operations on the weights that are kept."""
    arguments = [precision, *map(str, shape), str(groups), str(share)]
    done = subprocess.run([str(program), *arguments], check=True, capture_output=True, text=True)
    seconds, operations = done.stdout.split()
    return float(seconds), float(operations)


@app.command()
def run(
    output: Output = RESULTS,
    groups: Annotated[str, typer.Option(help="Groups of 16 tokens, with commas.")] = ",".join(map(str, GROUPS)),
) -> None:
    """Measure, and write the JSON."""
    peak = measure_peak(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "products"
        compile_program(program)
        for precision, most in (("fp32", peak.fp32_gflops), ("int8", peak.int8_gops)):
            cases = [(name, shape, share) for name, shape in SHAPES.items() for share in SHARES]
            cases += [(name, shape, EVERY) for name, shape in IN_THE_CACHE.items()]
            for name, shape, share in cases:
                of_peak = {}
                for count in map(int, groups.split(",")):
                    seconds, operations = measure(program, precision, shape, count, share)
                    of_peak[str(16 * count)] = operations / seconds / 1e9 / most
                rows.append({"precision": precision, "layer": name, "shape": shape, "kept": share, "of_peak": of_peak})
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": environment_record(),
        "peak": asdict(peak),
        "products": rows,
    }
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table(output)


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print the shares of the peak as Markdown."""
    content = json.loads(output.read_text(encoding="utf-8"))
    tokens = list(content["products"][0]["of_peak"])
    print(f"| layer | precision | kept | {' | '.join(f'{count} tokens' for count in tokens)} |")
    print(f"|---|---|---|{'---|' * len(tokens)}")
    for row in content["products"]:
        kept = "all, sparse format" if row["kept"] > 1 else "all, dense" if row["kept"] == 1 else f"{row['kept']:.0%}"
        shares = " | ".join(f"{row['of_peak'][count]:.0%}" for count in tokens)
        print(f"| {row['layer']} | {row['precision']} | {kept} | {shares} |")


if __name__ == "__main__":
    app()
