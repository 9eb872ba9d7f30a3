"""The files of installed packages in three splits, for the studies that read docstrings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdp.data.docstrings import package_folder

# Of every ten files, by a hash of their place.
SHARES = {"train": 8, "dev": 9, "test": 10}


def files_by_split(packages: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield the name of its split with every Python file, package by package, in order."""
    for package in packages:
        root = package_folder(package)
        for file in sorted(root.rglob("*.py")):
            number = digest(f"{package}/{file.relative_to(root).as_posix()}")[0] % 10
            yield next(name for name, end in SHARES.items() if number < end), file


def digest(text: str) -> bytes:
    """Return a hash, which orders and draws alike on every machine."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
