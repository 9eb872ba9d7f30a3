"""The hash of the code that a stage's result depends on."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_origin

import pytest

from sdp.pipeline import fingerprint
from sdp.pipeline.fingerprint import NEUTRAL, Sources, code_hash, installed
from sdp.pipeline.libraries import library_versions
from sdp.pipeline.stages import PREFLIGHT, STAGES, VOCABULARY
from support.sources import copy_packages, edit, move, sources

REAL_STAGES = {stage.name: stage.module for stage in (VOCABULARY, PREFLIGHT, *STAGES)}

Code = Callable[..., str]
Changed = Callable[[Callable[[Path], None]], set[str]]


@pytest.fixture
def code(tmp_path: Path) -> Code:
    """A function that writes modules of a package "sdp", and hashes one of them."""

    def write(hashed: str = "stage", **modules: str) -> str:
        for name, source in modules.items():
            path = tmp_path.joinpath("sdp", *name.split("__")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(source, encoding="utf-8")
        return Sources({"sdp": tmp_path / "sdp"}).code_hash(f"sdp.{hashed}")

    return write


@pytest.mark.parametrize(
    "statement",
    [
        "import sdp.used",
        "import sdp.used as other",
        "from sdp.used import f",
        "from sdp import used",
        "from . import used",
        "from .used import f",
        "def f():\n    from sdp.used import g",
        "if True:\n    import os, sdp.used",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import sdp.used",
        "command = ['python', '-m', 'sdp.used']",
    ],
)
def test_every_way_to_import_counts(code: Code, statement: str) -> None:
    before = code(stage=statement, used="a = 1", unused="b = 1")
    assert code(unused="b = 2") == before
    assert code(used="a = 2") != before


def test_an_import_for_types_alone_does_not_count(code: Code) -> None:
    before = code(stage="if TYPE_CHECKING:\n    import sdp.used\nx = 1", used="a = 1")
    assert code(used="a = 2") == before
    assert code(stage="x = 1") == before


def test_imports_of_imports_count_and_circles_end(code: Code) -> None:
    before = code(
        stage="import sdp.inner.one", inner__one="import sdp.two", two="import sdp.stage, sdp.inner.one\nx = 1"
    )
    assert code(two="import sdp.stage, sdp.inner.one\nx = 2") != before


SOURCE = """
class Settings:
    size: int = 3

def f(settings):
    return "text", settings.size
"""
EXPLAINED = '''
"""A module."""

class Settings:
    """Settings."""
    size: int = 3
    """How large."""

def f(settings):
    """Return something."""
    # For a reason.
    return "text", settings.size  # and so on
'''


def test_comments_docstrings_and_layout_do_not_count(code: Code) -> None:
    assert code(stage=EXPLAINED) == code(stage=SOURCE)
    others = [code(stage=SOURCE.replace(*pair)) for pair in (("3", "4"), ('"text"', '"word"'), ("int", "float"))]
    assert len({code(stage=SOURCE), *others}) == 4


def test_the_hash_is_the_same_in_every_version_of_python(code: Code) -> None:
    source = "from sdp.used import f as g\nimport os\nx = [f'{g(1.5)!r:>9}' for _ in 'ab' if not os.sep] or None\n"
    found = code(stage=source, used="async def f(a, /, *b, c=1): return lambda: (yield)")
    assert found[:16] == "4256a3edcb91e557"


IMPORTERS = [
    "from sdp.used import f as g\ng()",
    "from sdp import used\nused.f()",
    "import sdp.used as used\nused.f()",
    "run('sdp.used')",
]


@pytest.mark.parametrize("statement", IMPORTERS)
@pytest.mark.parametrize("place", ["used_too", "inner__used", "inner__other__deep"])
def test_a_module_that_moves_does_not_count(code: Code, statement: str, place: str) -> None:
    before = code(stage=statement, used="def f(): return 1", third="x = 1")
    new = f"sdp.{place.replace('__', '.')}"
    moved = statement.replace("sdp.used", new)
    if "from sdp import used" in statement:
        package, _, name = new.rpartition(".")
        moved = statement.replace("from sdp import used", f"from {package} import {name} as used")
    assert code(stage=moved, **{place: "def f(): return 1"}) == before
    assert code(**{place: "def f(): return 2"}) != before


def test_the_same_name_of_another_module_counts(code: Code) -> None:
    modules = {"one": "def f(): return 1", "two": "def f(): return 2"}
    both = "import sdp.one as a, sdp.two as b\n"
    before = code(stage=f"{both}from sdp.one import f", **modules)
    assert code(stage=f"{both}from sdp.two import f") != before
    swapped = "import sdp.two as a, sdp.one as b\nfrom sdp.one import f"
    assert code(stage=swapped) != before


def test_which_module_a_string_names_counts(code: Code) -> None:
    modules = {"one": "x = 1", "two": "x = 2", "errors": "", "recipe": ""}
    hashes = {code(stage=f"run({names})", **modules) for names in ("'sdp.one', 'sdp.two'", "'sdp.two', 'sdp.one'")}
    hashes |= {code(stage=f"run({name})", **modules) for name in ("'sdp.errors'", "'sdp.recipe'")}
    assert len(hashes) == 4


@pytest.mark.parametrize("neutral", NEUTRAL)
def test_what_only_shows_stores_or_checks_does_not_count(tmp_path: Path, neutral: str) -> None:
    path = tmp_path.joinpath(*neutral.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True)
    for package in fingerprint.PACKAGES:
        (tmp_path / package).mkdir(exist_ok=True)
    (tmp_path / "sdp" / "stage.py").write_text(f"from {neutral} import f")
    found = []
    for content in ("a = 1", "a = 2"):
        path.write_text(content)
        found.append(sources(tmp_path).code_hash("sdp.stage"))
    assert found[0] == found[1]


def test_a_module_whose_name_begins_like_a_neutral_one_counts(code: Code) -> None:
    before = code(stage="import sdp.recipes_of_numbers", recipes_of_numbers="a = 1")
    assert code(recipes_of_numbers="a = 2") != before


def is_neutral(module: str) -> bool:
    return any(f"{module}.".startswith(f"{neutral}.") for neutral in NEUTRAL)


# What can be sharded is refused or not; what the preflight's settings are made of enters by value.
TABLES = {"sdp.pruning.sharded", "sdp.preflight.settings"}


def test_nothing_that_decides_a_number_comes_from_a_neutral_module() -> None:
    """Functions, types and names of files: no number and no table, which would enter no fingerprint.

    Of the table of stages, what decides a result enters by value.
    """
    stages = {name for module in REAL_STAGES.values() for name in installed().closure(module)}
    wrong = []
    for name in sorted(stages - TABLES):
        path = installed().file(name)
        assert path is not None
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.module or not is_neutral(node.module):
                continue
            if node.module == "sdp.pipeline.stages":
                continue
            for alias in node.names:
                value = getattr(importlib.import_module(node.module), alias.name)
                if not (callable(value) or get_origin(value) is not None or isinstance(value, str)):
                    wrong.append(f"{name}: {node.module}.{alias.name}")
    assert wrong == []


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_a_template_counts_with_the_module_that_names_it(code: Code, tmp_path: Path, name: str) -> None:
    (tmp_path / "sdp").mkdir()
    template, macros = tmp_path / "sdp" / name, tmp_path / "sdp" / "macros.html"
    template.write_text('{% from "macros.html" import one %}')
    macros.write_text("one")
    before = code(
        stage="import sdp.inner.page", inner__page=f"get('{name}')", other='"""page.html."""\nget("else.html")'
    )
    other = code("other")
    macros.write_text("two")
    after = code()
    assert after != before
    template.write_text("two")
    assert code() not in (before, after)
    assert code("other") == other


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return {name: code_hash(module) for name, module in REAL_STAGES.items()}


@pytest.fixture
def changed(tmp_path: Path, before: dict[str, str]) -> Changed:
    """The stages whose code another version of the packages changes."""

    def compare(change: Callable[[Path], None]) -> set[str]:
        change(copy_packages(tmp_path))
        found = sources(tmp_path)
        return {name for name, module in REAL_STAGES.items() if found.code_hash(module) != before[name]}

    return compare


FIRST = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("sdp/pruning/analysis/measures.py", FIRST, f"{FIRST}\nOTHER = 1\n", {"preflight", "prune"}),
        ("sdp/report/plots.py", FIRST, f"{FIRST}\nOTHER = 1\n", {"report"}),
        ("sdp/report/sections/flips.html", "{", "\n{", {"report"}),
        ("sdp/losses/cross_correlation.py", "return ", "return 2 * ", {"preflight", "prune"}),
        (
            "sdp/losses/task.py",
            "return mean_over_ranks(values",
            "return mean_over_ranks(2 * values",
            {"preflight", "finetune", "prune"},
        ),
        ("sdp/training/sampler.py", "POOL_BATCHES = 20", "POOL_BATCHES = 10", {"preflight", "finetune", "prune"}),
        ("sdp_onnx/bench/worker.py", FIRST, f"{FIRST}\nOTHER = 1\n", {"bench", "gate"}),
        ("sdp/pipeline/progress.py", FIRST, f"{FIRST}\nOTHER = 1\n", set()),
    ],
)
def test_an_edit_changes_the_stages_that_use_it(
    changed: Changed, file: str, old: str, new: str, stages: set[str]
) -> None:
    assert changed(lambda folder: edit(folder, file, old, new)) == stages


def test_other_docstrings_and_comments_change_no_stage(changed: Changed) -> None:
    def explain(folder: Path) -> None:
        for path in folder.rglob("*.py"):
            lines = path.read_text(encoding="utf-8").replace("\n\nfrom __future__", "\n# Another.\nfrom __future__")
            path.write_text(re.sub(r'^(\s*)"""(?=\w)', r'\1"""Now: ', lines, flags=re.MULTILINE), encoding="utf-8")

    assert changed(explain) == set()


@pytest.mark.parametrize(
    ("module", "to"),
    [
        ("sdp.training.sampler", "sdp.data.row_order"),
        ("sdp.losses.task", "sdp.task_loss"),
        ("sdp.models.load", "sdp.models.loading.load"),
        ("sdp_onnx.bench.worker", "sdp_onnx.worker"),
        ("sdp.stages.bench", "sdp.measuring.bench"),
    ],
)
def test_a_moved_module_changes_no_stage(
    changed: Changed, module: str, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(folder: Path) -> None:
        move(folder, module, to)
        for name, stage in REAL_STAGES.items():
            monkeypatch.setitem(REAL_STAGES, name, to if stage == module else stage)

    assert changed(moved) == set()


def test_the_real_stages_differ_and_are_stable() -> None:
    hashed = {name: code_hash(module) for name, module in REAL_STAGES.items()}
    assert len(set(hashed.values())) == len(REAL_STAGES)
    installed.cache_clear()
    assert hashed == {name: code_hash(module) for name, module in REAL_STAGES.items()}


def test_the_neutral_modules_exist() -> None:
    assert all(installed().file(name) is not None for name in NEUTRAL)


def test_fine_tuning_knows_no_pruning() -> None:
    used = installed().closure("sdp.stages.finetune")
    assert [name for name in used if name.startswith("sdp.pruning")] == []
    assert not any("analysis" in name for name in used)
    assert not any(name.startswith(("sdp.report", "sdp.gate", "sdp.check", "sdp.cli")) for name in used)


def test_versions_of_what_is_installed() -> None:
    assert library_versions(("torch", "no-such-distribution")).keys() == {"torch"}
