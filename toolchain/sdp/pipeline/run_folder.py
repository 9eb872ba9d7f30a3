"""A run folder: one folder for each recipe, with one folder for each finished stage.

    runs/quickstart/
        run.json                the recipe and its overrides
        1-finetune/stage.json   the stage's inputs (settings, data, code, versions) and outputs
        2-prune.partial/        a stage in progress, or an interrupted one
        cache/                  the teacher's outputs, reused when only the pruning changes
        .lock, .holder.json     the lock, which the system releases with its process, and the process that holds it

A stage's folder appears only when it is complete, by renaming; an older result stays until the new one is complete.
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
from sdp.pipeline.files import flush, follow_umask, read_json, write_json
from sdp.pipeline.run_lock import LOCK_FILES, locked_folder
from sdp_onnx.model.files import TEMPORARY, atomic_write

RUN_FILE = "run.json"
STAGE_FILE = "stage.json"
# Temporary files that a kill during a write leaves: sdp's, and those of Rust libraries (tokenizers, safetensors).
_TORN = (f"*{TEMPORARY}", ".tmp??????")
CACHE = "cache"
# How the name of a stage's folder ends while it runs.
PARTIAL = ".partial"
# In a stage's folder while it runs: the files from which it resumes.
CHECKPOINTS = "checkpoints"
# In the run folder while a stage runs: temporary files of libraries.
SCRATCH = "scratch"


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run.

    Attributes:
        path: made absolute, so that printed paths work from any folder.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", absolute(self.path))

    def stage(self, folder: str) -> Path:
        """Return the folder of a finished stage."""
        return self.path / folder

    def partial(self, folder: str) -> Path:
        """Return the folder of a stage in progress."""
        return self.path / f"{folder}{PARTIAL}"

    def record(self, folder: str) -> StageRecord | None:
        """Read the stage.json of a finished stage; None where it is missing or damaged."""
        return _whole_record(self.stage(folder))

    def claim(self, name: str, recipe_file: Path, overrides: tuple[str, ...]) -> None:
        """Make the folder this recipe's, or check that it is already.

        Raises:
            RunError: it belongs to another recipe, or holds something else.
        """
        self.check_owner(name, recipe_file)
        self.path.mkdir(parents=True, exist_ok=True)
        file = os.path.relpath(recipe_file.resolve(), self.path.resolve())
        write_json(self.path / RUN_FILE, {"recipe": name, "file": file, "overrides": list(overrides)})
        _make_newest(self.path / RUN_FILE)

    def check_owner(self, name: str, recipe_file: Path) -> None:
        """Check that the folder is this recipe's or unused, without changing it.

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
        """Lock the folder against other sdp processes. The lock ends with the process, in any case.

        Raises:
            RunError: another process uses the folder, or the file system does not support locks.
            StorageError: the disk is full, or writing fails.
        """
        with locked_folder(self.path):
            yield

    @contextmanager
    def at_work(self, name: str, recipe_file: Path, overrides: tuple[str, ...]) -> Iterator[None]:
        """Claim the folder for this recipe, and lock it.

        Raises:
            RunError: it belongs to another recipe, holds something else, or another process uses it.
        """
        self.check_owner(name, recipe_file)
        with self.locked():
            self.claim(name, recipe_file, overrides)
            yield

    def begin(
        self, folder: str, fingerprint: str, *, resume: bool = True, ingredients: dict[str, Any] | None = None
    ) -> Path:
        """Open the folder of a stage in progress.

        Args:
            folder: the name of the stage's folder.
            fingerprint: the fingerprint of the work.
            resume: keep the files of an interrupted attempt with the same fingerprint.
            ingredients: the fingerprint's content, stored so that a later attempt can name what changed.
        """
        self.repair(folder)
        partial = self.partial(folder)
        started = read_json(partial / STAGE_FILE)
        if not resume or started is None or started.get("fingerprint") != fingerprint:
            remove_folder(partial)
            partial.mkdir(parents=True, exist_ok=True)
            write_json(partial / STAGE_FILE, {"fingerprint": fingerprint, "ingredients": ingredients or {}})
        # Not part of the result.
        for torn in sorted(path for pattern in _TORN for path in partial.rglob(pattern)):
            torn.unlink()
        return partial

    def finish(self, folder: str, record: StageRecord) -> None:
        """Publish a stage's complete folder in place of an older one."""
        follow_umask(self.partial(folder))
        flush(self.partial(folder))
        # From here on the result is complete, and `repair` finishes after a kill.
        write_json(self.partial(folder) / STAGE_FILE, record)
        self._publish(folder)

    def repair(self, folder: str) -> None:
        """Complete a `finish` that a kill interrupted."""
        final, old = self.stage(folder), self._old(folder)
        if _whole_record(self.partial(folder)) is not None:
            self._publish(folder)
        elif os.path.lexists(old) and not os.path.lexists(final):
            old.rename(final)
        remove_folder(old)

    def _publish(self, folder: str) -> None:
        partial, final, old = self.partial(folder), self.stage(folder), self._old(folder)
        remove_folder(partial / CHECKPOINTS)
        # A link to a disk that is not mounted has to be removed too.
        if os.path.lexists(final):
            remove_folder(old)
            final.rename(old)
        partial.rename(final)
        remove_folder(old)

    def _old(self, folder: str) -> Path:
        """Return the path of an older result while the new one replaces it."""
        return self.path / f"{folder}.old"

    def take(self, source: RunFolder, folder: str) -> None:
        """Replace a stage with the finished stage of another run; the files are shared."""
        record = source.record(folder)
        if record is None or self.record(folder) != record:
            remove_folder(self.stage(folder))
            share_files(source.stage(folder), self.stage(folder))


def absolute(path: Path) -> Path:
    """Return an absolute path without ".."; links are not resolved."""
    return Path(os.path.abspath(path))


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it exists; of a link only the link, because its target is the user's."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def outputs_of(folder: Path) -> list[Path]:
    """Return the files of a stage's result, in order: all in its folder except its record and checkpoints."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != STAGE_FILE]
    return [path for path in files if path.relative_to(folder).parts[0] != CHECKPOINTS]


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Make a folder the temporary folder of libraries and child processes; its content is removed at the end.

    Files of a killed process are removed by the next attempt, and a full /tmp does not matter.
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
    """Read the stage.json of a folder with all listed files; None where it is missing or damaged."""
    record = read_json(folder / STAGE_FILE)
    outputs = record.get("outputs") if record is not None else None
    if not isinstance(outputs, dict) or not all(_unchanged(folder / name, output) for name, output in outputs.items()):
        return None
    return cast(StageRecord, record)


def _unchanged(path: Path, output: object) -> bool:
    return isinstance(output, dict) and path.is_file() and path.stat().st_size == output.get("bytes")


def _make_newest(file: Path) -> None:
    """Give a run.json a later time than those of its sibling runs, even if the clock was set back."""
    others = sorted(other.stat().st_mtime_ns for other in file.parent.parent.glob(f"*/{RUN_FILE}") if other != file)
    now = file.stat().st_mtime_ns
    latest = max([now, *(other + 1000 for other in others)])
    if latest > now:
        with suppress(OSError):
            os.utime(file, ns=(latest, latest))


def newest_run(runs: Path) -> Path:
    """Return the most recent run folder; of several with the same time the last by name.

    Raises:
        RunError: there is none.
    """
    files = sorted(runs.glob(f"*/{RUN_FILE}"), key=lambda file: (file.stat().st_mtime_ns, file.parent.name))
    if not files:
        hint = "Name a recipe (for example: sdp run recipes/quickstart.toml), or the folder of runs with --runs."
        raise RunError("no run yet", where=str(absolute(runs)), hint=hint)
    return files[-1].parent


def check_results_folder(out: Path, kind: str, marks: Collection[str], others: Collection[str] = ()) -> None:
    """Check that a folder for results of a study, sweep or tuning is of that kind, or unused.

    Args:
        out: the folder.
        kind: "study", "sweep" or "tuning".
        marks: names that only such a folder contains.
        others: names that it may contain before these.

    Raises:
        RunError: it holds something else.
    """
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    if not names & set(marks) and names - {*LOCK_FILES, *(f"{mark}{TEMPORARY}" for mark in marks), *others}:
        hint = "Name another folder with --out, or empty this one."
        raise RunError(f"the folder is not empty and is no {kind}", where=str(out), hint=hint)


def share_files(source: Path, target: Path) -> None:
    """Link the files of a folder into another, or copy them where the file system cannot link.

    A finished stage's files are replaced, never modified, so a linked file cannot change.
    """
    if not source.is_dir():
        return
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        # A temporary file of a running or killed process is not shared.
        if path.is_file() and path.suffix != TEMPORARY and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                with atomic_write(place) as temporary:
                    shutil.copy2(path, temporary)
