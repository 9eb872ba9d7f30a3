"""Copies of a finished project's folders that share the files that are not damaged."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from sdp_onnx.deploy.manifest import MANIFEST, seal_manifest, write_manifest

TESTS = Path(__file__).parents[2] / "tests"


@dataclass(frozen=True)
class Project:
    """A small project whose recipe was run to its end; nothing in it is written to."""

    path: Path

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.path / "runs" / "toy"

    @cached_property
    def recipe(self) -> str:
        """The text of its recipe."""
        return (self.path / "toy.toml").read_text(encoding="utf-8")

    @cached_property
    def model_bytes(self) -> bytes:
        """The exported ONNX file, with operators of the library."""
        return (self.run / "4-export" / "model.onnx").read_bytes()


def make_project(folder: Path) -> Project:
    """The tests' toy project, run by the real command line; one that is there already is kept."""
    sys.path.insert(0, str(TESTS))
    toy: Any = importlib.import_module("toy")
    if not (folder / "runs" / "toy" / "8-ship" / MANIFEST).is_file():
        toy.write_project(folder, toy.save_tiny_model(folder / "tiny"))
        toy.sdp("run", "toy.toml", cwd=folder, check=True)
    return Project(folder)


def copy(source: Path, target: Path) -> Path:
    """A folder with the same files, shared with the source until they are replaced."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_file() and path.name not in (".lock",):
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place)
    return target


def replace(path: Path, content: bytes) -> None:
    """Write a file anew, without touching what it may share its content with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def reseal(folder: Path) -> None:
    """Write hashes and seal anew, as somebody does who changes a folder on purpose."""
    import json

    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).unlink()
    (folder / "manifest.sha256").unlink(missing_ok=True)
    write_manifest(folder, {key: value for key, value in content.items() if key != "files"})
    seal_manifest(folder)


def files_below(folder: Path) -> list[Path]:
    """Its plain files, in order."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def pick(random: Random, folder: Path) -> Path:
    """One of its files."""
    return random.choice(files_below(folder))
