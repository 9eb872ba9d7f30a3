"""Run folders: whose they are, who works in them, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sdp.errors import RunError
from sdp.run_folder import RunFolder, newest_run, read_json, write_json

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
        "import sys, time; from pathlib import Path; from sdp.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('in', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "in\n"
    run = RunFolder(tmp_path)
    with pytest.raises(RunError, match="another sdp process"), run.locked():
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with run.locked():
        pass


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
