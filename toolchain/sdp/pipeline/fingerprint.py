"""Which code a stage's result depends on: a hash over the stage's module and everything of ours that it imports.

A change to the report must not retrain a model, and a change to a loss must. Imports are read from the source, so this
needs no torch and runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("sdp", "sdp_onnx")
# Modules that show, store or check, and cannot change a number. Settings enter a fingerprint by value.
NEUTRAL = ("sdp.pipeline.progress", "sdp.errors", "sdp.pipeline.run_folder", "sdp.recipe", "sdp_onnx.errors")

TEMPLATES = (".html", ".md")


def code_hash(module: str) -> str:
    """SHA-256 over the source of a module and of all modules of sdp and sdp_onnx that it imports, directly or not."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or f"{name}.".startswith(tuple(f"{neutral}." for neutral in NEUTRAL)):
            continue
        seen.add(name)
        waiting.extend(_imports(name))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + _source(name) + b"\0" + _templates(name))
    return digest.hexdigest()


def library_versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """Installed version of each distribution that is installed."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@cache
def _file(module: str) -> Path | None:
    root, *inner = module.split(".")
    if root not in PACKAGES:
        return None
    spec = find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], *inner)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _source(module: str) -> bytes:
    path = _file(module)
    return path.read_bytes() if path is not None else b""


@cache
def _templates(module: str) -> bytes:
    """Files beside a module that it names: a template is as much code as what fills it."""
    path = _file(module)
    beside = sorted(file for file in path.parent.iterdir() if file.suffix in TEMPLATES) if path is not None else []
    return b"".join(file.read_bytes() for file in beside if file.name.encode() in _source(module))


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(sorted({name for name in _imported_names(module) if _file(name) is not None}))


def _imported_names(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
