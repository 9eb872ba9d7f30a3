"""Hooks of the documentation site: pages and files from outside of this folder, and the reference of the commands.

The documents link each other as files of the repository, so that the links work there. In the site all pages lie in one
folder, and other files that a page links are copied to files/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import typer
from mkdocs.structure.files import File, Files, InclusionLevel

from sdp.cli.main import app

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
DOCS = PurePosixPath("toolchain/docs")
# Pages of other folders: their place in the site, and in the repository.
OUTSIDE = {
    "QUICKSTART.md": PurePosixPath("README.md"),
    "RECIPES.md": PurePosixPath("recipes/README.md"),
    "REFERENCE.md": PurePosixPath("recipes/REFERENCE.md"),
    "STUDY.md": PurePosixPath("benchmarks/studies/STUDY.md"),
}
_PLACES = {source: place for place, source in OUTSIDE.items()}
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the anchors of headings to GitHub's."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = _slug
    return config


def _slug(heading: str, separator: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages of other folders, the files that pages link, and the page of commands."""
    for place, source in OUTSIDE.items():
        files.append(File.generated(config, place, content=(REPOSITORY / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, "COMMANDS.md", content=commands_page()))
    for linked in sorted(_linked_files(files)):
        # Without a level of inclusion, files of a folder such as .github are left out.
        level = InclusionLevel.INCLUDED
        files.append(File.generated(config, f"files/{linked}", abs_src_path=str(REPOSITORY / linked), inclusion=level))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to their places in the site."""
    folder = _folder(page.file.src_uri)
    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: _place(_target(folder, link[1])), part) for part in parts[::2]]
    return "".join(parts)


def _folder(page: str) -> PurePosixPath:
    """The folder of a page in the repository."""
    return OUTSIDE[page].parent if page in OUTSIDE else DOCS


def _target(folder: PurePosixPath, link: str) -> PurePosixPath:
    """A linked file's path in the repository."""
    return PurePosixPath((REPOSITORY / folder / link).resolve().relative_to(REPOSITORY).as_posix())


def _place(target: PurePosixPath) -> str:
    """A repository file's place in the site."""
    return target.name if target.parent == DOCS else _PLACES.get(target, f"files/{target}")


def _linked_files(files: Files) -> Iterator[PurePosixPath]:
    """Files of the repository that a page links and that are no pages."""
    seen = set()
    for file in files.documentation_pages():
        for text in _FENCED.split(file.content_string)[::2]:
            seen |= {_target(_folder(file.src_uri), link) for link in _LINK.findall(text)}
    return (target for target in seen if _place(target).startswith("files/"))


def commands_page() -> str:
    """The reference of all commands, from the command line itself."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    parts = ["# Commands\n\nGenerated from `sdp --help`. The [guide](GUIDE.md#commands) has a short table.\n"]
    commands = [command for command in group.commands.values() if isinstance(command, typer.core.TyperCommand)]
    parts += [_command_part(str(command.name), command) for command in commands]
    return "\n".join(parts)


def _command_part(name: str, command: typer.core.TyperCommand) -> str:
    context = typer.Context(command, info_name=f"sdp {name}")
    usage = " ".join(command.collect_usage_pieces(context))
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    rows = [row for parameter in command.get_params(context) if (row := parameter.get_help_record(context)) is not None]
    # In code a pipe ends no cell.
    table = "".join(f"| `{names}` | {_cell(meaning)} |\n" for names, meaning in rows)
    return f"## `sdp {name}`\n\n```\nsdp {name} {usage}\n```\n\n{text}\n\n| option | meaning |\n|---|---|\n{table}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
