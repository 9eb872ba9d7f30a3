"""Every import is of a package that pyproject.toml names, and commands that need no torch load none of the extra."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sdp.cli.errors import TRAIN

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
DISTRIBUTIONS = packages_distributions()
SOURCES = {"sdp": REPOSITORY / "toolchain", "sdp_onnx": REPOSITORY / "export"}
# What serves the commands of an installation without the extra `train`.
WITHOUT_TRAIN = [
    "sdp.cli.main",
    "sdp.check.plan",
    "sdp.cli.render.plan",
    "sdp.report.summary",
    "sdp_onnx.deploy.predictor",
    "sdp.cli.predict_inputs",
    "sdp.compare.costs",
    "sdp.compare.quality",
    "sdp.compare.snapshot",
    "sdp.gate.what_if",
    "sdp.pipeline.runner",
    "sdp.shipping.folder",
    "sdp.shipping.push",
    "sdp.stages.gate",
    "sdp.stages.report",
    "sdp.stages.ship",
    "sdp.study.plan",
    "sdp.sweep.levels",
    "sdp.tune.plan",
    "sdp_onnx.deploy.verify_folder",
    "sdp_onnx.model.inspect",
]
# Each has an environment of its own; see benchmarks/peers and benchmarks/compatibility.
PEERS = {"deepsparse", "nncf", "openvino", "sentence-transformers"}


def declared(*groups: list[Requirement]) -> set[str]:
    """Names of distributions, with those of an extra that another extra asks for."""
    found = set()
    for requirement in (requirement for group in groups for requirement in group):
        if requirement.name == PROJECT["name"]:
            found |= declared(*(EXTRAS[extra] for extra in requirement.extras))
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def imports(tree: ast.AST, *, inner: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The modules that a source imports, and what it takes of each; of functions only with `inner`, of types never."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imports(ast.Module(node.orelse, []), inner=inner)
        elif inner or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports(node, inner=inner)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def undeclared(names: Iterable[str], allowed: set[str], own: Iterable[str] = SOURCES) -> set[str]:
    """Imported packages that are neither ours nor of an allowed distribution."""
    foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - set(own)
    return {
        name
        for name in foreign
        if not {canonicalize_name(distribution) for distribution in DISTRIBUTIONS.get(name, [name])} & allowed
    }


def test_what_the_sources_import_is_declared() -> None:
    allowed = declared(BASE, EXTRAS["train"], EXTRAS["ray"], EXTRAS["openvino"])
    for path in (path for package, folder in SOURCES.items() for path in (folder / package).rglob("*.py")):
        assert undeclared((name for name, _ in imports(parse(path), inner=True)), allowed) == set(), path


def test_what_tests_benchmarks_and_tools_import_is_declared() -> None:
    folders = ("tests", "benchmarks", "toolchain/docs", "toolchain/serving", "export/native")
    paths = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(paths) > 200
    allowed = declared(BASE, *EXTRAS.values()) | PEERS
    own = {*SOURCES, "support", *(path.stem for path in paths)}
    for path in paths:
        assert undeclared((name for name, _ in imports(parse(path), inner=True)), allowed, own) == set(), path


def source(module: str) -> Path | None:
    """The file of a module of ours."""
    root, *inner = module.split(".")
    path = SOURCES.get(root, Path()).joinpath(root, *inner)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def loaded_with(module: str) -> set[str]:
    """Foreign modules that are loaded when a module of ours is imported."""
    seen, foreign, waiting = set(), set(), [module]
    while waiting:
        name = waiting.pop()
        file = source(name) if name not in seen else None
        seen.add(name)
        for imported, taken in imports(parse(file), inner=False) if file else ():
            if imported.partition(".")[0] not in SOURCES:
                foreign.add(imported)
            parents = imported.split(".")
            waiting += [".".join(parents[:depth]) for depth in range(1, len(parents) + 1)]
            waiting += [f"{imported}.{one}" for one in taken]
    return foreign


@pytest.mark.parametrize("module", WITHOUT_TRAIN)
def test_what_works_without_the_extra_loads_nothing_of_it(module: str) -> None:
    assert source(module), "the module is gone"
    assert undeclared(loaded_with(module), declared(BASE)) == set()


def test_the_table_of_the_extras_packages_is_that_of_the_project() -> None:
    assert declared([Requirement(name) for name in TRAIN]) == declared(EXTRAS["train"])
    assert declared(BASE).isdisjoint(declared(EXTRAS["train"]))
    assert "torch" in declared(EXTRAS["quickstart"]) & declared(EXTRAS["dev"])
