"""The documentation site: it builds strictly, without network, and has every page and every command."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
import yaml

from sdp.cli.main import app
from support.documents import DOCS, REPOSITORY, blocks
from support.toy import ONE_THREAD

pytest.importorskip("mkdocs")
CONFIG = REPOSITORY / "toolchain" / "mkdocs.yml"
# Tags that make a browser load something.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Loads(HTMLParser):
    """Everything that a page makes a browser load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs).get(LOADED.get(tag, ""))
        if found is not None:
            self.found.append(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(CONFIG), "-d", str(folder)]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in DOCS.glob("*.md")} <= pages
    assert {"QUICKSTART", "REFERENCE", "RECIPES", "STUDY", "COMMANDS"} <= pages
    assert not list(site.rglob("hooks.py"))


def test_every_command_has_its_part_with_all_options(site: Path) -> None:
    page = (site / "COMMANDS.html").read_text(encoding="utf-8")
    assert "\\|" not in page
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        part = page.partition(f'id="sdp-{name}"')[2].partition("<h2")[0]
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        assert options or name == "schema"
        assert all(re.search(rf"{option}\b", part) for option in options), name


@pytest.mark.parametrize("name", sorted(path.stem for path in DOCS.glob("*.md")))
def test_code_stays_code(name: str, site: Path) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    fences = len(re.findall(r"^```", text, re.MULTILINE)) // 2
    page = (site / f"{name}.html").read_text(encoding="utf-8")
    assert page.count('<div class="highlight">') + page.count("<pre><code>") >= fences
    assert "```" not in page
    assert page.count("<table>") == len(re.findall(r"^\|[-:| ]+\|$", text, re.MULTILINE))
    for block in blocks(text, "toml"):
        assert block


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        outside = [found for found in Loads(page.read_text(encoding="utf-8")).found if re.match(r"(https?:)?//", found)]
        assert outside == [], page.name


def test_linked_files_of_the_repository_are_copied(site: Path) -> None:
    assert (site / "files/toolchain/serving/serve.py").read_bytes() == (
        REPOSITORY / "toolchain/serving/serve.py"
    ).read_bytes()
    assert (site / "files/benchmarks/results/peers.svg").is_file()


def test_the_table_of_contents_names_every_page() -> None:
    nav = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["nav"]
    entries = re.findall(r"[A-Za-z]+\.md", str(nav))
    assert len(entries) == len(set(entries))
    assert {path.name for path in DOCS.glob("*.md")} <= set(entries)
