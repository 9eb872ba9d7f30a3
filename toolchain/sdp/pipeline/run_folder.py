"""A run folder: one folder a recipe, in it one folder a finished stage.

    runs/quickstart/
        run.json                which recipe and overrides this is
        1-finetune/stage.json   what the stage was made from: settings, inputs, code, versions; and what it made
        2-prune.partial/        a stage that is being worked on, or was interrupted
        cache/                  the teacher's words, reused when only the pruning changes
        .lock, .holder.json     who works here: the lock, which the system lets go of with the process, and its name

A stage's folder appears only when it is complete, by renaming; an older result stays until its successor is whole.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sdp.errors import RunError
from sdp.pipeline.artifacts.record import StageRecord
from sdp.pipeline.file_modes import follow_umask
from sdp.pipeline.json_file import read_json, write_json
from sdp.pipeline.run_lock import LOCK_FILES, locked_folder
from sdp.pipeline.storage import flush
from sdp_onnx.model.files import TEMPORARY, atomic_write

RUN_FILE = "run.json"
STAGE_FILE = "stage.json"
# What a kill in the middle of a write leaves: of ours, and of libraries in Rust (tokenizers, safetensors).
_TORN = (f"*{TEMPORARY}", ".tmp??????")
CACHE = "cache"
# In a stage's folder as long as it works: what it resumes from.
CHECKPOINTS = "checkpoints"
# In the run folder as long as a stage works: what libraries call temporary.
SCRATCH = "scratch"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: absolute, whatever was given: what is printed of a run is to be found from any folder.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", absolute(self.path))

    def stage(self, folder: str) -> Path:
        """Where a finished stage is."""
        return self.path / folder

    def partial(self, folder: str) -> Path:
        """Where a stage is being worked on."""
        return self.path / f"{folder}.partial"

    def record(self, folder: str) -> StageRecord | None:
        """The stage.json of a finished stage, or None. A damaged one counts as none."""
        return _whole_record(self.stage(folder))

    def claim(self, name: str, recipe_file: Path, overrides: tuple[str, ...]) -> None:
        """Make the folder this recipe's, or see that it is already.

        Raises:
            RunError: it belongs to another recipe, or holds something else.
        """
        self.check_owner(name, recipe_file)
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.path.relpath(recipe_file.resolve(), self.path.resolve())
        write_json(self.path / RUN_FILE, {"recipe": name, "file": file, "overrides": list(overrides)})
        _make_newest(self.path / RUN_FILE)

    def check_owner(self, name: str, recipe_file: Path) -> None:
        """See that the folder is this recipe's or nobody's, without touching it.

        Raises:
            RunError: it belongs to another recipe, or holds something else.
        """
        owner = read_json(self.path / RUN_FILE)
        file = os.path.relpath(recipe_file.resolve(), self.path.resolve())
        ours = {*LOCK_FILES, RUN_FILE, f"{RUN_FILE}{TEMPORARY}"}
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
            RunError: another process works here, or the file system takes no locks.
            StorageError: the disk is full, or the system refuses to write.
        """
        with locked_folder(self.path):
            yield

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

    def begin(
        self, folder: str, fingerprint: str, *, resume: bool = True, ingredients: dict[str, Any] | None = None
    ) -> Path:
        """Open the folder a stage works in.

        Args:
            folder: the stage's.
            fingerprint: of the work.
            resume: keep what an interrupted attempt at the very same work left there.
            ingredients: what the fingerprint is of, so that a later attempt at other work can name what changed.
        """
        self.repair(folder)
        partial = self.partial(folder)
        started = read_json(partial / STAGE_FILE)
        if not resume or started is None or started.get("fingerprint") != fingerprint:
            remove_folder(partial)
            partial.mkdir(parents=True, exist_ok=True)
            write_json(partial / STAGE_FILE, {"fingerprint": fingerprint, "ingredients": ingredients or {}})
        # No part of the result.
        for torn in sorted(path for pattern in _TORN for path in partial.rglob(pattern)):
            torn.unlink()
        return partial

    def finish(self, folder: str, record: StageRecord) -> None:
        """Make a stage's folder appear, complete, in place of an older one."""
        follow_umask(self.partial(folder))
        flush(self.partial(folder))
        # From here on the result is whole, and `repair` does what a kill leaves undone.
        write_json(self.partial(folder) / STAGE_FILE, record)
        self._publish(folder)

    def repair(self, folder: str) -> None:
        """End what a kill in the middle of `finish` left undone."""
        final, old = self.stage(folder), self._old(folder)
        if _whole_record(self.partial(folder)) is not None:
            self._publish(folder)
        elif os.path.lexists(old) and not os.path.lexists(final):
            old.rename(final)
        remove_folder(old)

    def _publish(self, folder: str) -> None:
        partial, final, old = self.partial(folder), self.stage(folder), self._old(folder)
        remove_folder(partial / CHECKPOINTS)
        # A link to a disk that is not mounted now is in the way too.
        if os.path.lexists(final):
            remove_folder(old)
            final.rename(old)
        partial.rename(final)
        remove_folder(old)

    def _old(self, folder: str) -> Path:
        """Where an older result is while its successor takes its place."""
        return self.path / f"{folder}.old"

    def take(self, source: RunFolder, folder: str) -> None:
        """Make a finished stage of another run this run's, in place of its own; the files are shared."""
        record = source.record(folder)
        if record is None or self.record(folder) != record:
            remove_folder(self.stage(folder))
            share_files(source.stage(folder), self.stage(folder))


def absolute(path: Path) -> Path:
    """A path from the root, without "..", and links as they are."""
    return Path(os.path.abspath(path))


def remove_folder(folder: Path) -> None:
    """Remove a folder, if there is one; of a link to one only the link, since what it leads to is the user's."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def outputs_of(folder: Path) -> list[Path]:
    """The files of a stage's result, in order: all in its folder but its record and its checkpoints."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != STAGE_FILE]
    return [path for path in files if path.relative_to(folder).parts[0] != CHECKPOINTS]


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let files that libraries and processes make in the system's temporary folder be made here; removed in the end.

    A killed process leaves them behind. Here the next attempt finds them, and a full /tmp stops nobody.
    """
    remove_folder(folder)
    folder.mkdir(parents=True)
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.resolve())
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]
        tempfile.tempdir = before[1]
        remove_folder(folder)


def _whole_record(folder: Path) -> StageRecord | None:
    """The stage.json of a folder that holds all that it says; None where there is none, or a damaged one."""
    record = read_json(folder / STAGE_FILE)
    outputs = record.get("outputs") if record is not None else None
    if not isinstance(outputs, dict) or not all(_unchanged(folder / name, output) for name, output in outputs.items()):
        return None
    return cast(StageRecord, record)


def _unchanged(path: Path, output: object) -> bool:
    return isinstance(output, dict) and path.is_file() and path.stat().st_size == output.get("bytes")


def _make_newest(file: Path) -> None:
    """Give a run.json a later time than those beside it have, whatever the clock says: it may have been set back."""
    others = sorted(other.stat().st_mtime_ns for other in file.parent.parent.glob(f"*/{RUN_FILE}") if other != file)
    now = file.stat().st_mtime_ns
    latest = max([now, *(other + 1000 for other in others)])
    if latest > now:
        with suppress(OSError):
            os.utime(file, ns=(latest, latest))


def newest_run(runs: Path) -> Path:
    """The run folder worked on last; of several of one time the last by name.

    Raises:
        RunError: there is none.
    """
    files = sorted(runs.glob(f"*/{RUN_FILE}"), key=lambda file: (file.stat().st_mtime_ns, file.parent.name))
    if not files:
        hint = "Name a recipe (for example: sdp run recipes/quickstart.toml), or say where runs are with --runs."
        raise RunError("no run yet", where=str(absolute(runs)), hint=hint)
    return files[-1].parent


def check_results_folder(out: Path, kind: str, marks: Collection[str], others: Collection[str] = ()) -> None:
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
    if not names & set(marks) and names - {*LOCK_FILES, *(f"{mark}{TEMPORARY}" for mark in marks), *others}:
        hint = "Name another folder with --out, or empty this one."
        raise RunError(f"the folder is not empty and is no {kind}", where=str(out), hint=hint)


def share_files(source: Path, target: Path) -> None:
    """Let the files of a folder appear in another, without a second copy where the file system can link.

    A finished stage's files are never written to again, only replaced, so a linked one cannot change.
    """
    if not source.is_dir():
        return
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        # One that is being written, or was when its process was killed, is nobody else's.
        if path.is_file() and path.suffix != TEMPORARY and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                with atomic_write(place) as temporary:
                    shutil.copy2(path, temporary)
