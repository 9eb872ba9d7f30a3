"""Run folders: whose they are, who works in them, and what a kill leaves."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sdp.errors import RunError, StorageError
from sdp.pipeline.files import read_json, write_json
from sdp.pipeline.run_folder import CHECKPOINTS, RunFolder, newest_run, outputs_of, share_files, temporary_files_in

STAGE = "1-finetune"


def record(content: str, fingerprint: str = "f") -> dict:
    return {"fingerprint": fingerprint, "outputs": {"out.txt": {"bytes": len(content), "sha256": "x"}}}


def finish(run: RunFolder, content: str, fingerprint: str = "f") -> None:
    (run.begin(STAGE, fingerprint) / "out.txt").write_text(content)
    run.finish(STAGE, record(content, fingerprint))


def test_a_folder_belongs_to_one_recipe(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "a")
    run.claim("a", tmp_path / "a.toml", ("x=1",))
    run.claim("a", tmp_path / "a.toml", ())
    assert read_json(run.path / "run.json") == {"recipe": "a", "file": "../../a.toml", "overrides": []}
    for name, file in (("b", "a.toml"), ("a", "other.toml")):
        with pytest.raises(RunError, match="belongs to recipe"):
            run.claim(name, tmp_path / file, ())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        RunFolder(tmp_path / "mine").claim("a", tmp_path / "a.toml", ())


def test_only_one_process_works_in_it_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sdp.pipeline.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "in\n"
    run = RunFolder(tmp_path)
    with pytest.raises(RunError, match=rf"another sdp process .*\(process {other.pid} on .+, since 20"), run.locked():
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert (tmp_path / ".holder.json").exists(), "kill -9 leaves the name"
    with run.locked():
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".holder.json").exists()


def test_a_dead_holder_is_not_named(tmp_path: Path) -> None:
    """In the moment after a lock was taken its file still has the name of the one before."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run = RunFolder(tmp_path)
    with run.locked():
        holder = {"pid": ended.pid, "host": socket.gethostname(), "since": "2026"}
        write_json(tmp_path / ".holder.json", holder)
        with pytest.raises(RunError, match=r"working in this folder\n"), RunFolder(tmp_path).locked():
            pass
        write_json(tmp_path / ".holder.json", {**holder, "host": "elsewhere"})
        with pytest.raises(RunError, match=f"process {ended.pid} on elsewhere"), RunFolder(tmp_path).locked():
            pass


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_a_holder_that_is_no_process_is_not_named(pid: int, tmp_path: Path) -> None:
    with RunFolder(tmp_path).locked():
        write_json(tmp_path / ".holder.json", {"pid": pid, "host": socket.gethostname(), "since": "2026"})
        with pytest.raises(RunError, match=r"working in this folder\n"), RunFolder(tmp_path).locked():
            pass


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_reported_and_nothing_stays(
    reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with pytest.raises(RunError, match="cannot be locked") as caught, run.locked():
            pass
    for words in (str(run.path), os.strerror(reason), "has no locks", "local disk", "lockd"):
        assert words in str(caught.value)
    with run.locked():
        assert read_json(run.path / ".holder.json") is not None


def test_a_disk_that_refuses_the_lock_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="Input/output error") as caught, RunFolder(tmp_path).locked():
        pass
    assert caught.value.where == str(tmp_path)


def test_a_stage_appears_whole_and_the_older_result_stays_until_then(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.record(STAGE) is None
    finish(run, "first")
    partial = run.begin(STAGE, "other")
    (partial / "out.txt").write_text("second")
    assert (run.stage(STAGE) / "out.txt").read_text() == "first"
    assert run.record(STAGE) == record("first")
    run.finish(STAGE, record("second", "other"))
    assert (run.stage(STAGE) / "out.txt").read_text() == "second"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [STAGE]


def test_an_attempt_is_taken_up_only_by_the_very_same_work(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (run.begin(STAGE, "f") / "checkpoint").write_text("half")
    assert (run.begin(STAGE, "f") / "checkpoint").exists()
    assert not (run.begin(STAGE, "g") / "checkpoint").exists()
    (run.partial(STAGE) / "checkpoint").write_text("half")
    (run.partial(STAGE) / "stage.json").write_text('{"fingerprint":')
    assert not (run.begin(STAGE, "g") / "checkpoint").exists()


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    finish(run, "first")
    (run.begin(STAGE, "g") / "out.txt").write_text("second")
    run.stage(STAGE).rename(tmp_path / f"{STAGE}.old")
    run.begin(STAGE, "g")
    assert (run.stage(STAGE) / "out.txt").read_text() == "first"
    run.finish(STAGE, record("second", "g"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [STAGE]


@pytest.mark.parametrize("mounted", [True, False])
def test_a_stage_that_was_moved_and_linked_back_is_replaced_again_and_again(mounted: bool, tmp_path: Path) -> None:
    run, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    finish(run, "first")
    run.stage(STAGE).rename(elsewhere)
    run.stage(STAGE).symlink_to(elsewhere if mounted else tmp_path / "unmounted")
    for attempt in ("second", "third"):
        finish(run, attempt, attempt)
        assert run.record(STAGE) == record(attempt, attempt)
        assert [entry.name for entry in run.path.iterdir()] == [STAGE]
    assert (elsewhere / "out.txt").read_text() == "first", "it is the user's"


def test_a_link_that_an_older_version_left_is_taken_away(tmp_path: Path) -> None:
    run, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    finish(run, "first")
    elsewhere.mkdir()
    (run.path / f"{STAGE}.old").symlink_to(elsewhere)
    finish(run, "second", "g")
    assert [entry.name for entry in run.path.iterdir()] == [STAGE]
    assert elsewhere.is_dir()


def test_a_kill_between_the_two_renames_of_a_link_loses_nothing(tmp_path: Path) -> None:
    """Also where the disk that it leads to is not mounted at the next start."""
    run = RunFolder(tmp_path)
    (tmp_path / f"{STAGE}.old").symlink_to(tmp_path / "unmounted")
    run.repair(STAGE)
    assert run.stage(STAGE).readlink() == tmp_path / "unmounted"


def test_an_attempt_that_is_linked_in_keeps_nothing_of_other_work(tmp_path: Path) -> None:
    run, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    (run.begin(STAGE, "f") / "checkpoint").write_text("half")
    run.partial(STAGE).rename(elsewhere)
    run.partial(STAGE).symlink_to(elsewhere)
    assert (run.begin(STAGE, "f") / "checkpoint").exists()
    assert not (run.begin(STAGE, "g") / "checkpoint").exists()
    assert (elsewhere / "checkpoint").exists()


def test_a_stage_of_another_run_is_never_written_into_what_a_link_leads_to(tmp_path: Path) -> None:
    source, run, elsewhere = RunFolder(tmp_path / "source"), RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    finish(source, "new")
    finish(run, "mine", "other")
    run.stage(STAGE).rename(elsewhere)
    run.stage(STAGE).symlink_to(elsewhere)
    run.take(source, STAGE)
    assert (run.stage(STAGE) / "out.txt").read_text() == "new"
    assert (elsewhere / "out.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", ["missing", "shorter", "record"])
def test_a_damaged_stage_counts_as_none(damage: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    finish(run, "content")
    file = run.stage(STAGE) / "out.txt"
    if damage == "missing":
        file.unlink()
    elif damage == "shorter":
        file.write_text("cont")
    else:
        (run.stage(STAGE) / "stage.json").write_text("{")
    assert run.record(STAGE) is None


def test_the_newest_run_is_the_one_worked_on_last(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run yet"):
        newest_run(tmp_path)
    for age, name in enumerate(("old", "new", "older")):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "run.json", {})
        seconds = 1000 + (10 if name == "new" else -age)
        os.utime(tmp_path / name / "run.json", (seconds, seconds))
    assert newest_run(tmp_path).name == "new"


def test_the_newest_run_is_the_last_claimed_also_when_the_clock_is_set_back(tmp_path: Path) -> None:
    for name in ("a", "b"):
        RunFolder(tmp_path / name).claim(name, tmp_path / f"{name}.toml", ())
    ahead = os.stat(tmp_path / "b" / "run.json").st_mtime + 10**6
    os.utime(tmp_path / "b" / "run.json", (ahead, ahead))
    RunFolder(tmp_path / "a").claim("a", tmp_path / "a.toml", ())
    assert newest_run(tmp_path).name == "a"


def test_checkpoints_are_no_result_and_leave_when_it_is_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    partial = run.begin(STAGE, "f")
    (partial / "inner").mkdir()
    (partial / "out.txt").write_text("text")
    (partial / "inner" / "more.txt").write_text("text")
    (partial / CHECKPOINTS / "checkpoint-1").mkdir(parents=True)
    (partial / CHECKPOINTS / "checkpoint-1" / "model").write_text("half")
    assert [str(path.relative_to(partial)) for path in outputs_of(partial)] == ["inner/more.txt", "out.txt"]
    run.finish(STAGE, record("text"))
    assert sorted(entry.name for entry in run.stage(STAGE).iterdir()) == ["inner", "out.txt", "stage.json"]


def test_a_stage_that_starts_from_nothing_keeps_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (run.begin(STAGE, "f") / "half").write_text("half")
    assert not (run.begin(STAGE, "f", resume=False) / "half").exists()


def test_temporary_files_are_made_in_the_run_folder(tmp_path: Path) -> None:
    before = tempfile.gettempdir(), os.environ.get("TMPDIR")
    folder = tmp_path / "scratch"
    (folder / "left").mkdir(parents=True)
    with temporary_files_in(folder):
        assert list(folder.iterdir()) == []
        with tempfile.TemporaryDirectory() as inner:
            assert Path(inner).parent == folder
        code = "import tempfile; print(tempfile.gettempdir())"
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert Path(output.strip()) == folder
    assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == before
    assert not folder.exists()


def test_files_are_shared_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "words").write_text("whole")
    (source / "more.tmp").write_text("ha")

    def no_links(*_: object) -> None:
        raise OSError

    def killed(source: Path, target: Path) -> None:
        target.write_text("wh")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", no_links)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copy2", killed)
        with pytest.raises(KeyboardInterrupt):
            share_files(source, target)
    assert not (target / "words").exists()
    share_files(source, target)
    assert [(path.name, path.read_text()) for path in target.iterdir()] == [("words", "whole")]


def test_a_result_is_on_the_disk_before_it_is_marked_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, flushed = os.fsync, []

    def fsync(descriptor: int) -> None:
        flushed.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real(descriptor)

    run = RunFolder(tmp_path / "run")
    (run.begin(STAGE, "f") / "deep").mkdir()
    (run.partial(STAGE) / "deep" / "model.bin").write_bytes(b"x")
    (run.partial(STAGE) / "out.txt").write_text("whole")
    monkeypatch.setattr(os, "fsync", fsync)
    run.finish(STAGE, record("whole"))
    assert {"out.txt", "deep", "model.bin"} < set(flushed)
    assert flushed[-1] == "stage.json.tmp"
