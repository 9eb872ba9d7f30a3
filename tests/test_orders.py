"""No order in the sources hangs on the hash seed, on the order in which a folder lists its files, or on ties."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted([*REPOSITORY.glob("toolchain/sdp/**/*.py"), *REPOSITORY.glob("export/sdp_onnx/**/*.py")])
LISTINGS = ("iterdir", "glob", "rglob", "iglob", "listdir", "scandir")
SET_METHODS = ("union", "intersection", "difference", "symmetric_difference")
# What they make of their items is the same in every order.
ORDERLESS = ("sorted", "sum", "any", "all", "set", "frozenset", "max", "min", "len", "Counter")
TAKE_ORDER = ("list", "tuple", "enumerate", "next", "iter", "map", "zip", "join", "fromkeys", "extend")
# Sorts of numpy and torch whose ties fall as the library likes.
UNSTABLE = ("argsort", "argpartition", "topk")


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_set(node: ast.expr, sets: set[str]) -> bool:
    if isinstance(node, ast.Call):
        return name_of(node.func) in ("set", "frozenset", *SET_METHODS)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr | ast.Sub | ast.BitXor):
        sides = (node.left, node.right)
        keys = [isinstance(side, ast.Call) and name_of(side.func) == "keys" for side in sides]
        return any(keys) or any(is_set(side, sets) for side in sides)
    return isinstance(node, ast.Set | ast.SetComp) or (isinstance(node, ast.Name) and node.id in sets)


def set_names(scope: ast.AST) -> set[str]:
    """Names that a function binds to sets."""
    names: set[str] = set()
    for node in ast.walk(scope):
        if isinstance(node, ast.Assign) and is_set(node.value, names):
            names |= {name_of(target) for target in node.targets}
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            target = ast.Name(node.arg) if isinstance(node, ast.arg) else node.target
            names |= {name_of(target)} if ast.unparse(node.annotation).startswith(("set", "frozenset")) else set()
    return names - {""}


def ordered_uses(node: ast.AST) -> list[ast.expr]:
    """What is gone through one after the other, into something that has an order."""
    if isinstance(node, ast.For):
        return [node.iter]
    if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        return [generator.iter for generator in node.generators]
    if isinstance(node, ast.Call) and name_of(node.func) in TAKE_ORDER:
        return list(node.args)
    return [node.value] if isinstance(node, ast.Starred) else []


def chance_orders(source: str) -> Iterator[str]:
    """The lines of a source in which an order is left to chance."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found: set[int] = set()
    for function in functions:
        sets = set_names(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and name_of(node.func) in (*UNSTABLE, "hash", "sorted", "sort"):
                words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                unstable = name_of(node.func) in UNSTABLE and "stable" not in words.get("kind", words.get("stable", ""))
                if unstable or name_of(node.func) == "hash" or words.get("key") in ("int", "float", "len"):
                    found.add(node.lineno)
            up = parents.get(node)
            while isinstance(up, ast.Starred | ast.Tuple | ast.List | ast.Set):
                up = parents.get(up)
            if isinstance(up, ast.Call) and name_of(up.func) in ORDERLESS:
                continue
            listed = [e for e in ordered_uses(node) if isinstance(e, ast.Call) and name_of(e.func) in LISTINGS]
            found.update(e.lineno for e in ordered_uses(node) if e in listed or is_set(e, sets))
    yield from (source.splitlines()[line - 1].strip() for line in sorted(found))


@pytest.mark.parametrize(
    "line",
    [
        "return list({1, 2})",
        "for x in folder.iterdir(): print(x)",
        "names = {a for a in b}; return tuple(sorted(names, key=int))",
        "names = set(b); return ', '.join(names)",
        "return [x for x in a.keys() & b.keys()]",
        "return np.argsort(x)",
        "return [*folder.rglob('*'), folder]",
    ],
)
def test_an_order_that_is_left_to_chance_is_found(line: str) -> None:
    assert list(chance_orders(f"def f(a, b, folder):\n    {line}\n")) == [line]
    safe = "names = set(b); return sorted(x for x in names) + sorted(folder.iterdir()) + [len(names), 1 in names]"
    assert list(chance_orders(f"def f(a, b, folder):\n    {safe}\n")) == []


def test_no_order_is_left_to_chance() -> None:
    assert len(SOURCES) > 200
    found = {
        str(path.relative_to(REPOSITORY)): list(chance_orders(path.read_text(encoding="utf-8"))) for path in SOURCES
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


PROGRAM = """
from sdp.data.labels import class_names, class_ids
from sdp.data.rows import RawSplit
labels = ("1", "01", "001", "10", "2", "-1", "0", "-0")
raw = RawSplit("train", "f", (("x",),) * 8, labels, ("",) * 8)
names = class_names(raw)
print(names, class_ids(raw, names).tolist())
tags = RawSplit("train", "f", (("x",),) * 3, (("B-X", "O"), ("I-X", "b"), ("B", "o")), ("",) * 3)
print(class_names(tags))
"""


def test_the_order_of_classes_is_the_same_under_every_hash_seed() -> None:
    printed = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        printed.add(done.stdout)
    (lines,) = printed
    assert lines.startswith("('-1', '-0', '0', '001', '01', '1', '2', '10') [5, 4, 3, 7, 6, 0, 2, 1]\n")
