"""Which releases of onnxruntime run a shipped folder, and do they say what it stores?

    python benchmarks/compatibility/onnxruntime_versions.py SHIPPED [SHIPPED ...] [--release 1.17.0 ...]
        [--environments FOLDER]

Each release gets an environment of its own, made here where FOLDER has none yet, with onnxruntime and numpy alone.
onnxruntime_versions_worker.py loads the model there and runs the golden inputs. Exit code 1 where a release that the
folder's manifest promises ("onnxruntime": the oldest) refuses it or differs by more than the stored tolerance.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import venv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

WORKER = Path(__file__).with_name("onnxruntime_versions_worker.py")
# The oldest that is promised, two in the middle, the newest.
RELEASES = ("1.17.0", "1.20.1", "1.23.2", "1.32.0")
# Built before numpy 2.
_NEEDS_NUMPY_1 = ("1.17", "1.18")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)


@app.command()
def run(
    folders: Annotated[list[Path], typer.Argument(help="Shipped folders.")],
    release: Annotated[list[str] | None, typer.Option(help="A release of onnxruntime; may be repeated.")] = None,
    environments: Annotated[Path | None, typer.Option(help="Where the environments are, or are made.")] = None,
) -> None:
    """Run the golden inputs of every folder in every release, and print a table."""
    with tempfile.TemporaryDirectory() as temporary:
        root = environments or Path(temporary)
        pythons = {name: environment(root, name) for name in release or RELEASES}
        table = Table("folder", "promised", *pythons)
        broken = False
        for folder in folders:
            promised = str(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["onnxruntime"])
            results = {name: check(python, folder) for name, python in pythons.items()}
            broken |= any(not runs(result) and covers(promised, name) for name, result in results.items())
            table.add_row(str(folder), f"{promised} or newer", *(words(result) for result in results.values()))
    Console(width=150).print(table)
    raise typer.Exit(int(broken))


def environment(root: Path, release: str) -> Path:
    """The Python of an environment with that release of onnxruntime, made if there is none."""
    folder = root / release
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        numpy = "numpy<2" if release.startswith(_NEEDS_NUMPY_1) else "numpy"
        install = [str(python), "-m", "pip", "install", "--quiet", f"onnxruntime=={release}", numpy]
        subprocess.run(install, check=True)
    return python


def check(python: Path, folder: Path) -> dict[str, Any]:
    """What the worker found of one folder in one environment."""
    done = subprocess.run([str(python), str(WORKER), str(folder)], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def runs(result: dict[str, Any]) -> bool:
    """Whether the release runs the folder and gives the stored logits."""
    return "refused" not in result and result["largest_error"] <= result["tolerance"]


def covers(promised: str, release: str) -> bool:
    """Whether a release is the promised one or newer."""
    numbers = [[int(part) for part in name.split(".")[:2]] for name in (promised, release)]
    return numbers[1] >= numbers[0]


def words(result: dict[str, Any]) -> str:
    """One cell of the table."""
    if "refused" in result:
        return f"refused: {result['refused'][:60]}"
    return f"{'runs' if runs(result) else 'differs'}, {result['largest_error']:.0e}"


if __name__ == "__main__":
    app()
