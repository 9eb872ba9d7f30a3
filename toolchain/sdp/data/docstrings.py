"""First sentences of the docstrings in installed Python packages: text that every installation has.

The label is the package a sentence is from. Files are parsed, never imported. A sentence that occurs in two packages is
dropped, and one that occurs twice in a package is used once, both ignoring case, digits and punctuation; so no sentence
is in two splits. Names that reveal the label stay: the task is not made harder.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.util
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from sdp.data.rows import SPLITS, RawSplit, SplitName
from sdp.errors import DataError
from sdp.recipe.data import DocstringsSection

MIN_WORDS, MAX_WORDS = 4, 40
# Reading a package stops after so many candidates for each wanted row: some are dropped as duplicates later, and the
# largest packages take seconds to parse completely.
CANDIDATES_PER_ROW = 1.5
# A line of mathematics or of drawing characters is no sentence.
MIN_LETTERS = 0.6
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*:(\[]|$)")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|approx|resp|Eq|Fig|al)\.$")


def read_docstrings(section: DocstringsSection, seed: int) -> dict[SplitName, RawSplit]:
    """Make balanced train, dev and test splits.

    The choice depends on the seed and the texts alone, not on the file system or on the order of the packages.

    Args:
        section: packages and sizes.
        seed: another seed, another choice.

    Returns:
        the splits that have rows, with the same number of rows for every package; the remainder goes to the first
        packages.

    Raises:
        DataError: a package is not installed or has too few sentences.
    """
    sizes: dict[SplitName, int] = {"train": section.train, "dev": section.dev, "test": section.test}
    packages = sorted(section.packages)
    wanted = sum(-(-size // len(packages)) for size in sizes.values())
    candidates = {package: _candidates(package, math.ceil(wanted * CANDIDATES_PER_ROW), seed) for package in packages}
    owners = Counter(key for sentences in candidates.values() for key in sentences)
    rows: dict[SplitName, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for place, package in enumerate(packages):
        own = [sentence for key, sentence in candidates[package].items() if owners[key] == 1]
        for split, size in sizes.items():
            share = size // len(packages) + (place < size % len(packages))
            if len(own) < share:
                raise _too_few(package, wanted, wanted - (share - len(own)), sizes)
            rows[split] += [(sentence, package) for sentence in own[:share]]
            own = own[share:]
    splits = {}
    for split, pairs in rows.items():
        if pairs:
            ordered = sorted(pairs, key=lambda pair: _rank(pair[0], seed))
            texts, labels = tuple((text,) for text, _ in ordered), tuple(label for _, label in ordered)
            splits[split] = RawSplit(split, "data.docstrings", texts, labels, ("",) * len(texts))
    return splits


def _too_few(package: str, wanted: int, found: int, sizes: dict[SplitName, int]) -> DataError:
    share = found / wanted
    fitting = ", ".join(f"{split} = {int(size * share)}" for split, size in sizes.items() if size)
    return DataError(
        f"{package} has about {found} usable sentences, and {wanted} are wanted of each package",
        where="data.docstrings",
        hint=f"Smaller splits fit ({fitting}), or other packages.",
    )


def _candidates(package: str, enough: int, seed: int) -> dict[str, str]:
    """Return sentences of a package by their normalized form; the order of files depends on the seed alone."""
    root = package_folder(package)
    files = sorted(root.rglob("*.py"), key=lambda path: _rank(path.relative_to(root).as_posix(), seed))
    found: dict[str, str] = {}
    for file in files:
        for sentence in docstring_sentences(file):
            found.setdefault(normalized(sentence), sentence)
        if len(found) >= enough:
            break
    return dict(sorted(found.items(), key=lambda item: _rank(item[0], seed)))


def package_folder(package: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        DataError: it is not installed, or is a single module.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        near = difflib.get_close_matches(package, packages_distributions(), n=1)
        hint = f'Did you mean "{near[0]}"?' if near else "Install it, or name another (import name, not pip's name)."
        raise DataError(f"no installed package {package}", where="data.docstrings.packages", hint=hint)
    return Path(next(iter(spec.submodule_search_locations)))


def docstring_sentences(file: Path) -> Iterator[str]:
    """Yield the first sentence of each docstring in a Python file, if it reads like prose; nothing if parsing fails."""
    for docstring in docstrings_of(file):
        sentence = first_sentence(docstring)
        if _reads_like_one(sentence):
            yield sentence


def docstrings_of(file: Path) -> Iterator[str]:
    """Yield the docstrings of a Python file, of the module, its classes and its functions; nothing if parsing fails."""
    try:
        with warnings.catch_warnings():
            # Warnings about invalid escapes in other packages are of no use here.
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _reads_like_one(sentence: str) -> bool:
    letters = len(normalized(sentence))
    return MIN_WORDS <= len(sentence.split()) <= MAX_WORDS and letters >= max(12, MIN_LETTERS * len(sentence))


def first_sentence(docstring: str) -> str:
    """Return the first sentence of a docstring's first paragraph, on one line; common abbreviations do not end it."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    start = 0
    for match in _SENTENCE_END.finditer(paragraph):
        sentence = paragraph[start : match.start()]
        if not _ABBREVIATION.search(sentence):
            return sentence
    return paragraph


def normalized(sentence: str) -> str:
    """Return the key under which two sentences are equal: letters without case, digits, spaces and punctuation."""
    return "".join(character for character in sentence.casefold() if character.isalpha())


def _rank(text: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{text}".encode(errors="surrogatepass")).digest()
