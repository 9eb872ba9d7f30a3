"""The hash of the code that a stage's result depends on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdp.pipeline import fingerprint as code_version
from sdp.pipeline.fingerprint import code_hash, library_versions

Code = Callable[..., None]


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Code]:
    """A function that writes modules of a package "sdp" that is found in place of the real one."""

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    def clear() -> None:
        for cached in (code_version._file, code_version._source, code_version._templates, code_version._imports):
            cached.cache_clear()

    def write(**modules: str) -> None:
        clear()
        for name, source in modules.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(source, encoding="utf-8")

    monkeypatch.setattr(code_version, "find_spec", lambda root: Spec() if root == "sdp" else None)
    clear()
    yield write
    clear()


@pytest.mark.parametrize(
    "statement",
    [
        "import sdp.used",
        "import sdp.used as other",
        "from sdp.used import f",
        "from sdp import used",
        "def f():\n    from sdp.used import g",
        "if True:\n    import os, sdp.used",
    ],
)
def test_every_way_to_import_counts(code: Code, statement: str) -> None:
    code(stage=statement, used="a = 1", unused="b = 1")
    before = code_hash("sdp.stage")
    code(unused="b = 2")
    assert code_hash("sdp.stage") == before
    code(used="a = 2")
    assert code_hash("sdp.stage") != before


def test_imports_of_imports_count_and_circles_end(code: Code) -> None:
    code(stage="import sdp.inner.one", inner__one="import sdp.two", two="import sdp.stage, sdp.inner.one\nx = 1")
    before = code_hash("sdp.stage")
    code(two="import sdp.stage, sdp.inner.one\nx = 2")
    assert code_hash("sdp.stage") != before


@pytest.mark.parametrize("neutral", ["console", "errors", "run_folder", "recipe__load"])
def test_what_only_shows_or_checks_does_not(code: Code, neutral: str) -> None:
    name = neutral.replace("__", ".")
    code(stage=f"import sdp.{name}", **{neutral: "a = 1"})
    before = code_hash("sdp.stage")
    code(**{neutral: "a = 2"})
    assert code_hash("sdp.stage") == before


@pytest.mark.parametrize("name", ["page.html", "page.md"])
def test_a_template_counts_with_the_module_that_names_it(code: Code, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("one")
    code(stage="import sdp.page", page=f"get('{name}')", other="get('else.html')")
    before = code_hash("sdp.stage"), code_hash("sdp.other")
    (tmp_path / name).write_text("two")
    code()
    assert code_hash("sdp.stage") != before[0]
    assert code_hash("sdp.other") == before[1]


def test_a_module_whose_name_begins_like_a_neutral_one_counts(code: Code) -> None:
    code(stage="import sdp.recipes_of_numbers", recipes_of_numbers="a = 1")
    before = code_hash("sdp.stage")
    code(recipes_of_numbers="a = 2")
    assert code_hash("sdp.stage") != before


def test_the_real_stages_differ_and_are_stable() -> None:
    stages = ("vocabulary", "finetune", "prune", "evaluate", "export", "bench", "gate", "report", "ship")
    modules = [f"sdp.stages.{stage}" for stage in stages]
    hashes = [code_hash(module) for module in modules]
    assert len(set(hashes)) == len(modules)
    assert hashes == [code_hash(module) for module in modules]
    for module in modules:
        assert importlib.util.find_spec(module) is not None


def test_versions_of_what_is_installed() -> None:
    assert library_versions(("torch", "no-such-distribution")).keys() == {"torch"}
