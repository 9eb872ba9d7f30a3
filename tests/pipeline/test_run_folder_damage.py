"""Run folders after kills at awkward moments, with damaged files in them, and in places where none can be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sdp.errors import RunError
from sdp.pipeline.files import read_json, write_json
from sdp.pipeline.run_folder import RunFolder, check_results_folder, newest_run, outputs_of

STAGE = "2-prune"


def finished(folder: Path, text: str = "old", fingerprint: str = "f") -> RunFolder:
    """A run folder with one finished stage, whose one output is this text."""
    run = RunFolder(folder)
    (run.begin(STAGE, fingerprint) / "out.txt").write_text(text)
    run.finish(STAGE, {"fingerprint": fingerprint, "outputs": {"out.txt": {"bytes": len(text)}}})
    return run


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"outputs": null}',
        b'{"outputs": []}',
        b'{"outputs": {"out.txt": {}}}',
        b'{"outputs": {"out.txt": 3}}',
        b'{"outputs": {"out.txt": {"bytes": "3"}}}',
        b'{"outputs": {".": {"bytes": 4096}}}',
    ],
)
def test_a_damaged_record_counts_as_none(tmp_path: Path, content: bytes) -> None:
    run = finished(tmp_path)
    assert run.record(STAGE) is not None
    (run.stage(STAGE) / "stage.json").write_bytes(content)
    assert run.record(STAGE) is None


@pytest.mark.parametrize("text", ["", "ol", "older"])
def test_an_output_of_another_size_counts_as_none(tmp_path: Path, text: str) -> None:
    run = finished(tmp_path)
    (run.stage(STAGE) / "out.txt").write_text(text)
    assert run.record(STAGE) is None


def test_a_damaged_partial_is_started_anew(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    partial = run.begin(STAGE, "f")
    for damage in ("", "{", "[]", "{}"):
        (partial / "checkpoint.pt").write_text("x")
        (partial / "stage.json").write_text(damage)
        assert [entry.name for entry in run.begin(STAGE, "f").iterdir()] == ["stage.json"]
        assert read_json(partial / "stage.json") == {"fingerprint": "f", "ingredients": {}}


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_at_every_point_of_finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int) -> None:
    """Its record was written, so the newer result is whole: the next command puts it in its place."""
    run = finished(tmp_path)
    (run.begin(STAGE, "g") / "out.txt").write_text("newer")
    real = Path.rename
    done: list[Path] = []

    class Killed(BaseException):
        pass

    def rename(self: Path, target: Path) -> Path:
        if len(done) == renames:
            raise Killed
        done.append(self)
        return real(self, target)

    def rmtree(*_: object, **__: object) -> None:
        raise Killed

    record = {"fingerprint": "g", "outputs": {"out.txt": {"bytes": 5}}}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        patch.setattr("shutil.rmtree", rmtree)
        with pytest.raises(Killed):
            run.finish(STAGE, record)
    run.repair(STAGE)
    assert run.record(STAGE) == record
    assert (run.stage(STAGE) / "out.txt").read_text() == "newer"
    assert [entry.name for entry in tmp_path.iterdir()] == [STAGE]


# Whose it is


def test_a_kill_during_the_first_claim_leaves_a_usable_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    (run.path / ".lock").touch()
    (run.path / "run.json.tmp").write_text('{"recipe"')
    run.claim("x", tmp_path / "x.toml", ())
    assert read_json(run.path / "run.json") == {"recipe": "x", "file": "../x.toml", "overrides": []}
    assert not (run.path / "run.json.tmp").exists()


def test_what_a_kill_in_the_middle_of_a_write_leaves_is_no_result(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    partial = run.begin("1-finetune", "f")
    for name in ("stage.json.tmp", "metrics.json.tmp", ".tmpprghr0"):
        (partial / name).write_text('{"half')
    assert run.begin("1-finetune", "f") == partial
    assert outputs_of(partial) == []
    run.finish("1-finetune", {"outputs": {}})
    assert run.record("1-finetune") == {"outputs": {}}


def test_a_kill_before_the_first_result_leaves_a_usable_study(tmp_path: Path) -> None:
    for name in (".lock", ".holder.json", ".holder.json.tmp", "study.json.tmp"):
        (tmp_path / name).touch()
    check_results_folder(tmp_path, "study", ("study.json",))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="no study"):
        check_results_folder(tmp_path, "study", ("study.json",))


def test_a_refused_folder_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="no run folder"):
        RunFolder(tmp_path).claim("x", tmp_path / "x.toml", ())
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_a_recipe_found_by_another_path_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    recipe = tmp_path / "recipes" / "x.toml"
    recipe.touch()
    run = RunFolder(tmp_path / "run")
    run.claim("x", recipe, ())
    monkeypatch.chdir(tmp_path / "recipes")
    RunFolder(Path("../run")).claim("x", Path("x.toml"), ())
    RunFolder(Path("../run")).claim("x", Path("../recipes/../recipes/x.toml"), ())
    assert read_json(run.path / "run.json") == {"recipe": "x", "file": "../recipes/x.toml", "overrides": []}


def test_a_project_may_move_as_a_whole(tmp_path: Path) -> None:
    RunFolder(tmp_path / "a" / "runs" / "x").claim("x", tmp_path / "a" / "x.toml", ())
    (tmp_path / "a").rename(tmp_path / "b")
    moved = RunFolder(tmp_path / "b" / "runs" / "x")
    moved.claim("x", tmp_path / "b" / "x.toml", ())
    assert read_json(moved.path / "run.json") == {"recipe": "x", "file": "../../x.toml", "overrides": []}


# Locks


def test_a_file_can_be_no_run_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "inner"):
        with pytest.raises(RunError, match="cannot be a run folder") as caught, RunFolder(path).locked():
            pass
        assert caught.value.where == str(path)


def test_the_lock_ends_with_its_block_also_by_an_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "new" / "run")
    with pytest.raises(ZeroDivisionError), run.locked():
        raise ZeroDivisionError
    with run.locked(), pytest.raises(RunError, match="another sdp process"), RunFolder(run.path).locked():
        pass
    with run.locked():
        pass


def test_a_claimed_and_half_done_run_goes_on_after_kill_9(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sdp.pipeline.run_folder import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]) / 'run')\n"
        "with run.locked():\n"
        "    run.claim('x', Path(sys.argv[1]) / 'x.toml', ('seed=1',))\n"
        f"    (run.begin('{STAGE}', 'f') / 'checkpoint').write_text('half')\n"
        "    print('in', flush=True); time.sleep(60)"
    )
    run = RunFolder(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(RunError, match="another sdp process"), run.locked():
            pass
        os.kill(other.pid, signal.SIGKILL)
    with run.locked():
        run.claim("x", tmp_path / "x.toml", ())
        assert (run.begin(STAGE, "f") / "checkpoint").read_text() == "half"


# Files


def test_json_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": "ä", "b": [1]})
    assert "ä" in path.read_text(encoding="utf-8")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_json(path, {"a": "new"})
    assert read_json(path) == {"a": "ä", "b": [1]}


def test_newest_run_passes_over_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / "file").touch()
    with pytest.raises(RunError, match="no run yet"):
        newest_run(tmp_path / "runs")
    with pytest.raises(RunError, match="no run yet"):
        newest_run(tmp_path / "gone")
    RunFolder(tmp_path / "runs" / "x").claim("x", tmp_path / "x.toml", ())
    assert newest_run(tmp_path / "runs") == tmp_path / "runs" / "x"


def test_a_claim_makes_a_run_the_newest(tmp_path: Path) -> None:
    for name in ("a", "b"):
        RunFolder(tmp_path / name).claim(name, tmp_path / f"{name}.toml", ())
        os.utime(tmp_path / name / "run.json", (1, 1) if name == "a" else (2, 2))
    assert newest_run(tmp_path).name == "b"
    RunFolder(tmp_path / "a").claim("a", tmp_path / "a.toml", ())
    assert newest_run(tmp_path).name == "a"
    assert json.loads((tmp_path / "a" / "run.json").read_text())["recipe"] == "a"
