"""Docstrings as text: parsed and not imported, balanced, without overlap, the same everywhere."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from sdp.data.docstrings import first_sentence, normalized, read_docstrings
from sdp.errors import DataError
from sdp.recipe.data import DocstringsSection

WORDS = "solve plot read write merge split join sort rank draw load save map fold scan".split()  # noqa: SIM905


def make_package(folder: Path, name: str, count: int, extra: str = "") -> None:
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("a package must not be imported")\n')
    for part in range(4):
        functions = []
        for i in range(part, count, 4):
            sentence = f"{name.title()} can {WORDS[i % 15]} the {WORDS[i // 15 % 15]} of every {WORDS[i // 225]}."
            functions.append(f'def f{i}():\n    """{sentence}\n\n    More text. And more.\n    """\n')
        (package / f"part{part}.py").write_text("\n".join(functions) + extra)
    (package / "broken.py").write_text("def (:\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    shared = 'class Shared:\n    """Return the answer to 42 questions of this kind."""\n'
    for name in ("alphalib", "betalib"):
        make_package(tmp_path, name, 300, shared)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return "alphalib", "betalib"


def test_splits_are_balanced_and_share_no_sentence(packages: tuple[str, str]) -> None:
    splits = read_docstrings(DocstringsSection(packages=packages, train=101, dev=40, test=40), seed=0)
    assert {name: len(split.texts) for name, split in splits.items()} == {"train": 101, "dev": 40, "test": 40}
    assert [split.labels.count("alphalib") for split in splits.values()] == [51, 20, 20]
    keys = [normalized(text) for split in splits.values() for (text,) in split.texts]
    assert len(set(keys)) == len(keys)
    assert not any("answer" in key for key in keys), "a sentence of both packages has no label"
    for split in splits.values():
        assert all(text.lower().startswith(label) for (text,), label in zip(split.texts, split.labels, strict=True))


def test_the_choice_depends_on_the_seed_and_nothing_else(packages: tuple[str, str]) -> None:
    section = DocstringsSection(packages=packages, train=60, dev=20)
    turned = DocstringsSection(packages=packages[::-1], train=60, dev=20)
    assert read_docstrings(section, 0) == read_docstrings(turned, 0)
    assert read_docstrings(section, 0) != read_docstrings(section, 1)


def test_too_much_is_refused_with_what_fits(packages: tuple[str, str]) -> None:
    with pytest.raises(DataError, match=r"alphalib has about \d+ usable sentences(.|\n)*train = \d+, dev = \d+"):
        read_docstrings(DocstringsSection(packages=packages, train=1000, dev=400), seed=0)


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(DataError, match=r'no installed package transformerz(.|\n)*"transformers"'):
        read_docstrings(DocstringsSection(packages=("torch", "transformerz"), train=10, dev=10), seed=0)


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One. Two.", "One."),
        ("  Over\n  two lines. Then more.", "Over two lines."),
        ("First paragraph without end\n\nSecond. Third.", "First paragraph without end"),
        ("Use it, e.g. As here, once. Then stop.", "Use it, e.g. As here, once."),
        ("Version 1.5 of it. Next.", "Version 1.5 of it."),
        ("", ""),
    ],
)
def test_first_sentence(docstring: str, sentence: str) -> None:
    assert first_sentence(docstring) == sentence
