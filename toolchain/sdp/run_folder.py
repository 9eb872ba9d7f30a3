"""A run folder: one folder a recipe, in it one folder a finished stage.

    runs/quickstart/
        run.json                which recipe and overrides this is
        1-finetune/stage.json   what the stage was made from: settings, inputs, code, versions; and what it made
        2-prune.partial/        a stage that is being worked on, or was interrupted
        cache/                  the teacher's words, reused when only the pruning changes

A stage's folder appears only when it is complete, by renaming; an older result stays until its successor is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sdp.errors import RunError

RUN_FILE = "run.json"
STAGE_FILE = "stage.json"
LOCK_FILE = ".lock"
TEMPORARY = ".tmp"
CACHE = "cache"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run."""

    path: Path

    def stage(self, folder: str) -> Path:
        """Where a finished stage is."""
        return self.path / folder

    def partial(self, folder: str) -> Path:
        """Where a stage is being worked on."""
        return self.path / f"{folder}.partial"

    def record(self, folder: str) -> dict[str, Any] | None:
        """The stage.json of a finished stage, or None. A damaged one counts as none."""
        record = read_json(self.stage(folder) / STAGE_FILE)
        outputs = record.get("outputs") if record is not None else None
        if not isinstance(outputs, dict) or not all(self._unchanged(folder, *item) for item in outputs.items()):
            return None
        return record

    def _unchanged(self, folder: str, name: str, output: object) -> bool:
        path = self.stage(folder) / name
        return isinstance(output, dict) and path.is_file() and path.stat().st_size == output.get("bytes")

    def claim(self, name: str, recipe_file: Path, overrides: tuple[str, ...]) -> None:
        """Make the folder this recipe's, or see that it is already.

        Raises:
            RunError: it belongs to another recipe, or holds something else.
        """
        self.check_owner(name, recipe_file)
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.path.relpath(recipe_file.resolve(), self.path.resolve())
        write_json(self.path / RUN_FILE, {"recipe": name, "file": file, "overrides": list(overrides)})

    def check_owner(self, name: str, recipe_file: Path) -> None:
        """See that the folder is this recipe's or nobody's, without touching it.

        Raises:
            RunError: it belongs to another recipe, or holds something else.
        """
        owner = read_json(self.path / RUN_FILE)
        file = os.path.relpath(recipe_file.resolve(), self.path.resolve())
        # The half-written file is what a kill during the first claim leaves.
        ours = {LOCK_FILE, f"{RUN_FILE}{TEMPORARY}"}
        if owner is None and self.path.is_dir() and {entry.name for entry in self.path.iterdir()} - ours:
            hint = "Name another folder with --run-dir, or empty this one."
            raise RunError("the folder is not empty and is no run folder", where=str(self.path), hint=hint)
        if owner is not None and (owner.get("recipe"), owner.get("file")) != (name, file):
            raise RunError(
                f'the run folder belongs to recipe "{owner.get("recipe")}" ({self.path / str(owner.get("file"))})',
                where=str(self.path),
                hint=f"Name another folder with --run-dir, or another name in {recipe_file}, or delete the folder.",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other sdp processes out. The lock ends with the process, however it ends.

        Raises:
            RunError: another process works here.
        """
        lock = FileLock(self.path / LOCK_FILE)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            hint = "Name another folder (--run-dir; for a study --out)."
            raise RunError(f"cannot be a run folder: {error.strerror}", where=str(self.path), hint=hint) from None
        except Timeout:
            hint = "Wait for it, stop it, or name another folder (--run-dir; for a study --out)."
            raise RunError("another sdp process is working in this folder", where=str(self.path), hint=hint) from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def at_work(self, name: str, recipe_file: Path, overrides: tuple[str, ...]) -> Iterator[None]:
        """Hold the folder as this recipe's: claimed, and locked.

        Raises:
            RunError: it belongs to another recipe, holds something else, or another process works here.
        """
        self.check_owner(name, recipe_file)
        with self.locked():
            self.claim(name, recipe_file, overrides)
            yield

    def begin(self, folder: str, fingerprint: str) -> Path:
        """Open the folder a stage works in, with what an interrupted attempt at the very same work left there."""
        self._repair(folder)
        partial = self.partial(folder)
        started = read_json(partial / STAGE_FILE)
        if started is None or started.get("fingerprint") != fingerprint:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write_json(partial / STAGE_FILE, {"fingerprint": fingerprint})
        return partial

    def finish(self, folder: str, record: dict[str, Any]) -> None:
        """Make a stage's folder appear, complete, in place of an older one."""
        partial, final = self.partial(folder), self.stage(folder)
        write_json(partial / STAGE_FILE, record)
        old = final.with_name(f"{folder}.old")
        if final.exists():
            final.rename(old)
        partial.rename(final)
        shutil.rmtree(old, ignore_errors=True)

    def take(self, source: RunFolder, folder: str) -> None:
        """Make a finished stage of another run this run's, in place of its own; the files are shared."""
        record = source.record(folder)
        if record is None or self.record(folder) != record:
            shutil.rmtree(self.stage(folder), ignore_errors=True)
            share_files(source.stage(folder), self.stage(folder))

    def _repair(self, folder: str) -> None:
        """End what a kill between the two renames of `finish` left undone."""
        final = self.stage(folder)
        old = final.with_name(f"{folder}.old")
        if old.exists() and not final.exists():
            old.rename(final)
        shutil.rmtree(old, ignore_errors=True)


def newest_run(runs: Path) -> Path:
    """The run folder worked on last.

    Raises:
        RunError: there is none.
    """
    files = sorted(runs.glob(f"*/{RUN_FILE}"), key=lambda file: file.stat().st_mtime)
    if not files:
        hint = "Name a recipe (for example: sdp run recipes/quickstart.toml), or say where runs are with --runs."
        raise RunError("no run yet", where=str(runs), hint=hint)
    return files[-1].parent


def check_results_folder(out: Path, kind: str, marks: Collection[str], others: Collection[str]) -> None:
    """See that a folder that runs are made in is of one kind, or nobody's.

    Args:
        out: the folder.
        kind: "study" or "sweep".
        marks: names that only such a folder has.
        others: names that it may have before it has those.

    Raises:
        RunError: it holds something else.
    """
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    if names and not names & set(marks) and names - {LOCK_FILE, *others}:
        hint = "Name another folder with --out, or empty this one."
        raise RunError(f"the folder is not empty and is no {kind}", where=str(out), hint=hint)


def share_files(source: Path, target: Path) -> None:
    """Let the files of a folder appear in another, without a second copy where the file system can link.

    A finished stage's files are never written to again, only replaced, so a linked one cannot change.
    """
    if not source.is_dir():
        return
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                shutil.copy2(path, place)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where there is no such file or it is damaged."""
    # A device or a pipe would have no end.
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: object) -> None:
    """Write JSON so that the file is whole or absent, never half-written."""
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
