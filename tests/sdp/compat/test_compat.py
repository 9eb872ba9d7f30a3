"""Private names of libraries: each exists in the installed release, and only `sdp.compat` uses any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import sdp
import sdp_onnx
from sdp.compat import PRIVATE
from sdp.training.trainer import SdpTrainer

ROOT = Path(sdp.__file__).parent
MODULES = [
    path
    for package in (ROOT, Path(sdp_onnx.__file__).parent)
    for path in package.rglob("*.py")
    if path.parent != ROOT / "compat"
]
# Undocumented, though their names begin with no underscore.
INTERNAL = {"torch.distributed.rendezvous", "accelerate.utils.constants"}


def find(name: str) -> Any:
    """What a dotted path names: in the longest part of it that is a module; of a class also on an instance."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found("out") if isinstance(found, type) and not hasattr(found, part) else found, part)
        return found
    raise ImportError(name)


@pytest.mark.parametrize(("library", "name"), [(library, name) for library, names in PRIVATE.items() for name in names])
def test_a_private_name_exists(library: str, name: str) -> None:
    try:
        find(name)
    except (ImportError, AttributeError) as error:
        pytest.fail(
            f"{library} {version(library)} has no {name} ({error}): change sdp/compat/{library}.py, or exclude the "
            "release in pyproject.toml"
        )


def test_a_name_that_is_gone_is_found_out() -> None:
    with pytest.raises((ImportError, AttributeError)):
        find("transformers.Trainer._save_checkpoint_of_old")


def private_uses(source: str) -> Iterator[str]:
    """Private names of other modules' objects in a source: imported, or read from anything but self, cls and super.

    An object of a class in the same source may be read for its own.
    """
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    own = {node.attr for node in nodes if isinstance(node, ast.Attribute) and is_self(node.value)}
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            if module == "_typeshed":
                # Of the type checkers, not of a library.
                continue
            for alias in node.names:
                path = f"{module}.{alias.name}" if module else alias.name
                private = any(is_private(part) for part in path.split("."))
                if private or any(f"{path}.".startswith(f"{internal}.") for internal in INTERNAL):
                    yield path
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            called_super = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super"
            if called_super or (not is_self(node.value) and node.attr not in own):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield ast.unparse(node)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_compat_uses_private_names(path: Path) -> None:
    assert list(private_uses(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "from transformers.utils._hidden import f",
        "from torch.distributed.rendezvous import rendezvous",
        "import torch._dynamo",
        "PartialState._shared_state['a'] = 1",
        "class A(Trainer):\n    def _save(self): super()._save()",
        "getattr(stream, '_head')",
    ],
)
def test_the_rule_would_catch_a_use(source: str) -> None:
    assert list(private_uses(source))


def test_the_trainer_overrides_nothing_private() -> None:
    """An override calls no super where it replaces a method: compare with the names of the classes above."""
    above = {name for base in SdpTrainer.__mro__[1:] for name in vars(base)}
    assert [name for name in vars(SdpTrainer) if is_private(name) and name in above] == []
