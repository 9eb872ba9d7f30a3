"""Hash the code that a stage's result depends on: the stage's module and all of sdp's modules that it imports.

A change to the report must not retrain a model, and a change to a loss must. What counts of a module is its body: the
syntax tree without comments, docstrings and imports of our own, and the templates that it names. An import counts as
the name that is taken and the body of the module that it is taken from, so that a module may move. Imports are read
from the source: this needs no torch and runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("sdp", "sdp_onnx")
# Modules, or packages with all that is in them, that cannot change a number, each with the reason.
NEUTRAL = {
    "sdp.recipe": "settings enter a fingerprint by value, every default resolved",
    "sdp.errors": "messages",
    "sdp_onnx.errors": "messages",
    "sdp.pruning.measured_times": "times of a machine; what was chosen by them is stored",
    "sdp.pruning.structured.unit_times": "times of a machine, which are stored",
    "sdp.training.trackers": "follow a training",
    "sdp.pipeline.signals": "stops a command",
    "sdp.pipeline.progress": "shows progress",
    "sdp.pipeline.context": "holds what a stage gets",
    "sdp.pipeline.stages": "what a stage reads enters its fingerprint by value",
    "sdp.pipeline.libraries": "versions enter a fingerprint by value",
    "sdp.pipeline.run_folder": "knows where files are",
    "sdp.pipeline.files": "stores what it is given",
}
_TEMPLATE = re.compile(r"[\w./-]+\.(?:html|md)")


def code_hash(module: str) -> str:
    """SHA-256 over the code of a module and of all modules of sdp and sdp_onnx that it imports, directly or not."""
    return installed().code_hash(module)


@cache
def installed() -> Sources:
    """The sources of the installed packages; what was read of them once is not read again."""
    specs = {name: find_spec(name) for name in PACKAGES}
    return Sources(
        {
            name: Path(spec.submodule_search_locations[0])
            for name, spec in specs.items()
            if spec is not None and spec.submodule_search_locations
        }
    )


@dataclass(frozen=True, order=True)
class Import:
    """One name of ours that a module imports.

    Attributes:
        taken: its name in the module that it is taken from; "" for the module itself.
        bound: its name in the module that imports it; a number where a string names the module.
        module: the module that it is taken from.
    """

    taken: str
    bound: str
    module: str


@dataclass(frozen=True)
class Module:
    """The hashed content of a module: a digest of its body, and its imports of our modules without the neutral ones."""

    body: str
    imports: tuple[Import, ...]


class Sources:
    """The sources of our packages.

    Args:
        roots: name of a package -> its folder.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = roots
        self._files: dict[str, Path | None] = {}
        self._modules: dict[str, Module] = {}

    def code_hash(self, module: str) -> str:
        """As the function of this name."""
        codes = [self._code(module), *sorted({self._code(name) for name in self.closure(module)})]
        return hashlib.sha256("\n".join(codes).encode()).hexdigest()

    def closure(self, module: str) -> list[str]:
        """A module and all that it imports, directly or not, without the neutral ones, by name."""
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(used.module for used in self._module(name).imports)
        return sorted(seen)

    def file(self, module: str) -> Path | None:
        """The source of a module; None for one that is not ours, or that does not exist."""
        if module not in self._files:
            root, *inner = module.split(".")
            path = self._roots[root].joinpath(*inner) if root in self._roots else None
            candidates = (path.with_suffix(".py"), path / "__init__.py") if path is not None else ()
            self._files[module] = next((file for file in candidates if file.is_file()), None)
        return self._files[module]

    def is_ours(self, module: str) -> bool:
        """Whether a module, by its name, belongs to our packages."""
        return module.split(".", maxsplit=1)[0] in self._roots

    def templates(self, path: Path, named: Iterable[str]) -> dict[str, bytes]:
        """The templates that a source names, and those that they name: name -> content.

        A name is looked for beside the source, and in the folders around it up to the package.
        """
        roots = self._roots.values()
        folders = [folder for folder in path.parents if any(folder.is_relative_to(root) for root in roots)]
        found: dict[str, bytes] = {}
        waiting = list(named)
        while waiting:
            name = waiting.pop()
            file = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if file is not None and name not in found:
                found[name] = file.read_bytes()
                waiting.extend(_TEMPLATE.findall(found[name].decode(errors="replace")))
        return dict(sorted(found.items()))

    def _module(self, name: str) -> Module:
        if name not in self._modules:
            path = self.file(name)
            if path is None:
                raise ValueError(f"{name} is no module of {', '.join(self._roots)}")
            body = _Body(self, name, is_package=path.name == "__init__.py")
            body.add(ast.parse(path.read_bytes()))
            digest = hashlib.sha256("".join(body.parts).encode("utf-8", "surrogatepass"))
            for template, content in self.templates(path, body.templates).items():
                digest.update(f"\0{template}\0".encode() + content)
            self._modules[name] = Module(digest.hexdigest(), tuple(sorted(body.imports)))
        return self._modules[name]

    def _code(self, name: str) -> str:
        """The body of a module, with the names that it imports and the bodies of the modules they are taken from."""
        module = self._module(name)
        used = {f"{one.taken} {one.bound} {self._module(one.module).body}" for one in module.imports}
        return " ".join([module.body, *sorted(used)])


class _Body:
    """The hashed content of a module, collected node by node.

    `ast.dump` would do, but its text is another one in every version of Python.
    """

    def __init__(self, sources: Sources, module: str, *, is_package: bool) -> None:
        self._sources = sources
        parts = module.split(".")
        self._package = parts if is_package else parts[:-1]
        self.parts: list[str] = []
        self.imports: set[Import] = set()
        self.templates: list[str] = []
        self._named = 0

    def add(self, value: object) -> None:
        """Add a node, a list of nodes, or a constant."""
        if isinstance(value, ast.AST):
            self._add_node(value)
        elif isinstance(value, list):
            self.parts.append("[")
            for one in value:
                self.add(one)
            self.parts.append("]")
        else:
            self.parts.append(f"{value!r},")

    def _add_node(self, node: ast.AST) -> None:
        if _is_docstring(node) or (isinstance(node, ast.ImportFrom) and self._takes_ours(node)):
            return
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            for statement in node.orelse:
                self.add(statement)
            return
        if isinstance(node, ast.Import):
            node = ast.Import([alias for alias in node.names if not self._is_ours(alias)])
            if not node.names:
                return
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            self.templates += _TEMPLATE.findall(node.value)
            if self._sources.file(node.value) is not None and not _is_neutral(node.value):
                # A module that is started by its name; which one is in the import.
                self._named += 1
                self._use("", str(self._named), node.value)
                return
        self.parts.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            # What is empty is left out: newer versions of Python have more fields.
            if value is not None and value != []:
                self.parts.append(f"{name}=")
                self.add(value)
        self.parts.append(")")

    def _is_ours(self, alias: ast.alias) -> bool:
        """Note the module that an import names, if it is ours."""
        ours = self._sources.file(alias.name) is not None
        if ours:
            self._use("", alias.asname or alias.name, alias.name)
        return ours

    def _takes_ours(self, node: ast.ImportFrom) -> bool:
        """Note what an import takes from one of our modules, if it does."""
        package = self._package[: len(self._package) - node.level + 1] if node.level else []
        origin = ".".join([*package, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f"{origin}.{alias.name}"
            if self._sources.file(inner) is not None:
                self._use("", alias.asname or alias.name, inner)
            elif self._sources.file(origin) is not None:
                self._use(alias.name, alias.asname or alias.name, origin)
        return self._sources.is_ours(origin)

    def _use(self, taken: str, bound: str, module: str) -> None:
        if not _is_neutral(module):
            self.imports.add(Import(taken, bound, module))


def _is_neutral(module: str) -> bool:
    return f"{module}.".startswith(tuple(f"{name}." for name in NEUTRAL))


def _is_docstring(node: ast.AST) -> bool:
    """Whether a node is a statement that is a text and nothing else, wherever it stands."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"
