"""Upload a shipped folder to the hub after verifying it: one commit with exactly the files of its manifest."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdp.errors import FailedError, UsageError
from sdp_onnx.deploy.manifest import MANIFEST, file_sha256
from sdp_onnx.deploy.verify_folder import printable, shipped_files, verify_folder

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
# Hints by the status code of the hub's answer.
HINTS = {
    401: "The token is not valid: log in with `hf auth login`, or set another HF_TOKEN.",
    403: "The token may not write there: give it write access, or name a repository of your own.",
    404: "Check the owner's name, and that the branch exists.",
}


@dataclass(frozen=True)
class PushedFile:
    """One file of an upload: its name in the repository, and its size."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Push:
    """An upload or a planned upload.

    Attributes:
        repository: the repository's id.
        revision: the branch that gets the commit.
        endpoint: the hub's address.
        private: whether a new repository is private.
        files: the uploaded files.
        manifest: SHA-256 of manifest.json, which identifies the folder.
        commit: the commit's address; None in a dry run.
        left: other files of the repository, which stay; None in a dry run.
    """

    repository: str
    revision: str
    endpoint: str
    private: bool
    files: tuple[PushedFile, ...]
    manifest: str
    commit: str | None = None
    left: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the upload as JSON."""
        return asdict(self)


def push(folder: Path, repository: str, *, revision: str, private: bool, dry_run: bool) -> Push:
    """Upload a shipped folder, or plan the upload, without the network.

    Args:
        folder: the shipped folder.
        repository: "owner/name".
        revision: the branch that gets the commit; it must exist, unless it is the main branch.
        private: make a new repository private.
        dry_run: upload nothing.

    Raises:
        UsageError: there is no such folder, the repository's id is invalid, or there is no token.
        FailedError: the folder does not verify, or the hub rejects the upload or cannot be reached.
    """
    from huggingface_hub import constants

    if not REPOSITORY.fullmatch(repository):
        raise UsageError(f"{repository!r} is not a repository's id", hint="Give OWNER/NAME.")
    _must_verify(folder)
    files = tuple(PushedFile(name, (folder / name).stat().st_size) for name in shipped_files(folder))
    identity = file_sha256(folder / MANIFEST)
    planned = Push(repository, revision, constants.ENDPOINT, private, files, identity)
    return planned if dry_run else _upload(folder, planned)


def _must_verify(folder: Path) -> None:
    report = verify_folder(folder)
    if not report.ok:
        wrong = [printable(f"{check.name} {check.detail}") for check in report.checks if check.outcome == "failed"]
        raise FailedError(
            f"the folder does not verify, so nothing is uploaded: {'; '.join(wrong)}",
            where=str(folder),
            hint="Make it anew: sdp ship RUN",
        )


def _upload(folder: Path, planned: Push) -> Push:
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        hint = "Log in with `hf auth login`, or put a token with write access into the environment as HF_TOKEN."
        raise UsageError("there is no token for the hub", where=planned.endpoint, hint=hint)
    api = HfApi()
    try:
        api.create_repo(planned.repository, private=planned.private, exist_ok=True)
        # Before the commit, because a failure after it would hide that the upload succeeded.
        there = api.list_repo_files(planned.repository, revision=planned.revision)
        # One commit, so that a download at the same time is never partial.
        commit = api.create_commit(
            planned.repository,
            [CommitOperationAdd(file.name, folder / file.name) for file in planned.files],
            commit_message=f"Shipped by sdp, manifest {planned.manifest[:12]}",
            revision=planned.revision,
        )
    except Exception as error:
        raise _hub_error(error, planned) from error
    ours = {".gitattributes", *(file.name for file in planned.files)}
    left = tuple(sorted(name for name in there if name not in ours))
    return Push(**{**vars(planned), "commit": str(commit.commit_url), "left": left})


def _hub_error(error: Exception, planned: Push) -> Exception:
    """Convert an error of the hub or the network to a message for the user; other exceptions are bugs and stay."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    where = f"{planned.endpoint}/{planned.repository}"
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
        # Raised by one of the parallel uploads.
        error = error.__cause__
    if isinstance(error, OfflineModeIsEnabled):
        return FailedError("the hub is switched off", where=where, hint="Unset HF_HUB_OFFLINE.")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        reason = error.server_message or str(error).strip().splitlines()[0]
        return FailedError(f"the hub rejects the request ({status}): {reason}", where=where, hint=HINTS.get(status, ""))
    # httpx's errors, matched by name: huggingface_hub 2 uses another copy of httpx than 1.
    if isinstance(error, HfHubHTTPError.__bases__[0] | ConnectionError):
        hint = "Check the network and HF_ENDPOINT, then repeat the command."
        return FailedError(f"the hub cannot be reached: {error}", where=where, hint=hint)
    if isinstance(error, ValueError):
        return FailedError(f"the hub rejects the request: {error}", where=where)
    return error
