"""The documents of the project: their text, code blocks, headings and links, as GitHub reads them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "toolchain" / "docs"
README = REPOSITORY / "README.md"
PAGES = sorted(
    [
        README,
        *DOCS.glob("*.md"),
        *(REPOSITORY / "recipes").glob("*.md"),
        REPOSITORY / "toolchain" / "ci" / "README.md",
        REPOSITORY / "benchmarks" / "studies" / "STUDY.md",
    ]
)
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_IN_CODE = re.compile(r"`[^`\n]*`")


def page_name(path: Path) -> str:
    """The place of a page in the repository, for ids of tests and messages."""
    return path.relative_to(REPOSITORY).as_posix()


def read(name: str) -> str:
    """The text of a page in toolchain/docs, such as "GUIDE.md"."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The content of every fenced block of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A page without its fenced blocks and inline code; line numbers stay."""
    unfenced = _FENCED.sub(lambda block: "\n" * block.group().count("\n"), text)
    return _IN_CODE.sub("", unfenced)


def links(text: str) -> list[str]:
    """The target of every link and picture outside of code."""
    return _LINK.findall(_FENCED.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings: lower case, hyphens for spaces, no punctuation, repeated ones numbered."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6} (.+)$", _FENCED.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
