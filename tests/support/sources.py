"""A copy of the installed packages' sources, to edit."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from sdp.pipeline.fingerprint import PACKAGES, Sources


def copy_packages(folder: Path) -> Path:
    """Copy sdp and sdp_onnx into a folder, which Python then finds them in by PYTHONPATH."""
    for name in PACKAGES:
        spec = find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations
        shutil.copytree(spec.submodule_search_locations[0], folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def sources(folder: Path) -> Sources:
    """The sources of a copy, read anew."""
    return Sources({name: folder / name for name in PACKAGES})


def edit(folder: Path, file: str, old: str, new: str) -> None:
    """Replace a text that stands in a file."""
    path = folder / file
    content = path.read_text(encoding="utf-8")
    assert old in content, f"{old} is not in {file}"
    path.write_text(content.replace(old, new), encoding="utf-8")


def move(folder: Path, module: str, to: str) -> None:
    """Move a module, and adjust everything that names it."""
    source, target = (folder.joinpath(*name.split(".")).with_suffix(".py") for name in (module, to))
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    for path in folder.rglob("*.py"):
        content = path.read_text(encoding="utf-8")
        if module in content:
            path.write_text(content.replace(module, to), encoding="utf-8")
