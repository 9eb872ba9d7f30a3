"""No version with a known hole can be installed: the bounds of pyproject.toml exclude them, and so does what is here.

The table is from the advisories of GitHub and PyPI as of November 2026, for what sdp names itself. A hole that was
found since is one line more.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from support.documents import read

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
REQUIREMENTS = [Requirement(line) for lines in (PROJECT["dependencies"], *EXTRAS) for line in lines]
# Package, last version with the hole (or one of them), first one without, advisory, and what it is.
HOLES = [
    ("filelock", "3.20.0", "3.20.1", "CVE-2025-68146", "a link in place of the lock file truncates another file"),
    ("filelock", "3.20.2", "3.20.3", "CVE-2026-22701", "the same in SoftFileLock"),
    ("jinja2", "3.1.5", "3.1.6", "CVE-2025-27516", "a template gets out of the sandbox"),
    ("onnx", "1.20.1", "1.21.0", "CVE-2026-34445", "external data set any attribute of the reader"),
    ("onnx", "1.20.1", "1.21.0", "CVE-2026-34446", "external data is read through hard links"),
    ("onnx", "1.20.1", "1.21.0", "CVE-2026-34447", "external data is read through symbolic links"),
    ("protobuf", "6.33.4", "6.33.5", "CVE-2026-0994", "nested messages end the process"),
    ("pyarrow", "23.0.0", "23.0.1", "CVE-2026-25087", "memory is used after it was freed"),
    ("requests", "2.32.3", "2.32.4", "CVE-2024-47081", "passwords of .netrc go to another host"),
    ("requests", "2.32.5", "2.33.0", "CVE-2026-25645", "temporary files of names that can be guessed"),
    ("scikit-learn", "1.4.2", "1.5.0", "CVE-2024-5206", "a vectorizer keeps words of its training texts"),
    ("torch", "2.5.1", "2.6.0", "CVE-2025-32434", "torch.load(weights_only=True) runs code"),
    ("torch", "2.9.1", "2.10.0", "CVE-2026-24747", "the unpickler of weights_only corrupts memory"),
    ("transformers", "4.57.6", "5.0.0", "CVE-2026-1839", "Trainer loads its random state by pickle"),
    ("transformers", "5.2.0", "5.3.0", "CVE-2026-4372", "a model's config.json runs code"),
    ("transformers", "5.4.0", "5.5.0", "CVE-2026-5241", "a model's config.json runs code (LightGlue)"),
    ("transformers", "5.9.0", "5.10.0", "CVE-2026-9856", "saving a tokenizer writes files outside of the folder"),
    ("pytest", "9.0.2", "9.0.3", "CVE-2025-71176", "temporary folders of names that can be guessed"),
    ("sentencepiece", "0.2.0", "0.2.1", "CVE-2026-1260", "a damaged model writes beyond its memory"),
]


@pytest.mark.parametrize(("package", "bad", "fixed", "advisory", "_what"), HOLES, ids=lambda value: str(value)[:20])
def test_bounds_exclude_versions_with_known_holes(
    package: str, bad: str, fixed: str, advisory: str, _what: str
) -> None:
    own = [requirement for requirement in REQUIREMENTS if requirement.name.lower() == package]
    assert own, f"{package} is not named"
    for requirement in own:
        assert not requirement.specifier.contains(bad), f"{requirement} allows {advisory}"
    assert Version(version(package)) >= Version(fixed)


def test_what_is_installed_is_within_the_bounds() -> None:
    for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["train"]):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(version(requirement.name)), line


def test_every_vulnerability_that_the_bounds_exclude_is_listed() -> None:
    listed = dict.fromkeys(re.findall(r"CVE-\d+-\d+", read("SECURITY.md")))
    assert {advisory for *_, advisory, _ in HOLES} <= set(listed)
    table = dict(re.findall(r"^\| ([\w-]+)(?: \(\w+\))? \| ([\d.]+) \|", read("SECURITY.md"), re.MULTILINE))
    newest: dict[str, tuple[int, ...]] = {}
    for package, _, fixed, *_ in HOLES:
        newest[package] = max(newest.get(package, ()), tuple(map(int, fixed.split("."))))
    assert {package: tuple(map(int, table[package].split("."))) for package in newest} == newest
