"""Uploads through the real command line to a stand-in of the hub: what arrives, what is refused, what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.errors import UsageError
from sdp.shipping.push import push
from support.hub import TOKEN, Hub, hub_server
from support.toy import sdp_process


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as server:
        yield server


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    target = tmp_path / "shipped"
    shutil.copytree(finished / "runs" / "toy" / "8-ship", target)
    return target


@pytest.fixture
def pushed(folder: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process. huggingface_hub reads these variables when it is imported, so set what it read."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    # No token of whoever runs the tests.
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))

    def run(*arguments: str, repository: str = "me/toy", token: str = TOKEN) -> Result:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", token)
        return CliRunner().invoke(app, ["push", str(folder), repository, *arguments])

    return run


def test_the_bytes_that_arrive_are_those_of_the_folder(folder: Path, hub: Hub) -> None:
    hub.repositories["me/toy"] = {"notes.md": b"mine", ".gitattributes": b""}
    # Large files by HTTP, not by the other protocol, which has servers of its own.
    variables = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    done = sdp_process("push", folder, "me/toy", "--yes", cwd=folder, env=variables)
    assert done.returncode == 0, done.stderr
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "stage.json"}
    assert hub.repositories["me/toy"] == {**files, "notes.md": b"mine", ".gitattributes": b""}
    assert set(hub.objects.values()) == {content for name, content in files.items() if name.endswith((".onnx", ".so"))}
    assert hub.commits == 1
    assert f"{hub.address}/me/toy/commit/1" in done.stdout
    assert "left as they were, and not of this folder: notes.md" in done.stdout


def test_a_new_repository_is_private_unless_asked(hub: Hub, pushed: Callable[..., Result]) -> None:
    made = json.loads(pushed("--yes", "--json").stdout)
    assert (made["commit"], made["left"]) == (f"{hub.address}/me/toy/commit/1", [])
    assert pushed("--yes", "--public", repository="me/open").exit_code == 0
    assert [asked["visibility"] for asked in hub.created] == ["private", "public"]


def test_without_yes_nothing_is_asked_of_the_hub(folder: Path, hub: Hub, pushed: Callable[..., Result]) -> None:
    done = pushed("--revision", "v2")
    assert done.exit_code == 0
    assert f"to {hub.address}/me/toy, branch v2 (private if it is made now); do it with --yes" in done.stdout
    size = (folder / "model.onnx").stat().st_size
    assert any(line.split() == ["model.onnx", f"{size:,}", "bytes"] for line in done.stdout.splitlines())
    assert "stage.json" not in done.stdout
    assert (hub.created, hub.repositories, hub.commits) == ([], {}, 0)


def test_a_damaged_folder_is_not_uploaded(folder: Path, hub: Hub, pushed: Callable[..., Result]) -> None:
    (folder / "config.json").write_text("{}")
    done = pushed("--yes")
    assert done.exit_code == 1
    assert "does not verify, so nothing is uploaded: config.json" in done.stderr
    assert not hub.created


@pytest.mark.parametrize(
    ("token", "repository", "arguments", "code", "message"),
    [
        ("", "me/toy", [], 2, "there is no token"),
        ("hf_wrong", "me/toy", [], 1, "rejects the request (401)"),
        (TOKEN, "stranger/toy", [], 1, "rejects the request (403): You don't have the rights"),
        (TOKEN, "me/toy", ["--revision", "none"], 1, "rejects the request (404)"),
    ],
)
def test_what_the_hub_refuses_is_one_message(
    token: str, repository: str, arguments: list[str], code: int, message: str, hub: Hub, pushed: Callable[..., Result]
) -> None:
    done = pushed("--yes", *arguments, repository=repository, token=token)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.commits == 0


def test_an_upload_that_arrives_damaged_ends_without_a_commit(hub: Hub, pushed: Callable[..., Result]) -> None:
    hub.damages = True
    done = pushed("--yes")
    assert done.exit_code == 1
    assert "the hub rejects the request (400)" in done.stderr
    assert "Traceback" not in done.stderr
    assert hub.commits == 0


def test_no_hub_and_a_hub_switched_off_are_reported(
    hub: Hub, pushed: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.address = "http://127.0.0.1:9"
    done = pushed("--yes")
    assert (done.exit_code, "cannot be reached" in done.stderr) == (1, True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    off = pushed("--yes")
    assert (off.exit_code, "switched off" in off.stderr) == (1, True)


@pytest.mark.parametrize("repository", ["toy", "a/b/c", "me/", "https://huggingface.co/me/toy", "me/my toy"])
def test_what_is_no_repository_is_reported_before_anything_else(repository: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a repository's id"):
        push(tmp_path / "gone", repository, revision="main", private=True, dry_run=True)
