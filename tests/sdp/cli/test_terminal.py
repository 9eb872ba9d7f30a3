"""A terminal of few characters fails no command, and files are UTF-8 whatever the locale."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from sdp.cli.main import app
from sdp.cli.terminal import escape_unencodable, json_text
from sdp.pipeline.progress import Reporter, result_console
from support.toy import save_tiny_model, sdp_process, toy_rows, write_project

REPOSITORY = Path(__file__).parents[3]
TEXT = "größe 深度 \U0001f600 \udcff €"


def written(encoding: str, monkeypatch: pytest.MonkeyPatch, write: object) -> str:
    """What a stream of an encoding, strict as Python makes it, has got of what a function writes to stdout."""
    raw = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True))
    escape_unencodable()
    write()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_a_terminal_lacks_are_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        table = Table(title=TEXT)
        table.add_column(TEXT)
        table.add_row(TEXT)
        result_console().print(table)
        Reporter().line(TEXT)
        print(json.dumps({"label": TEXT}, ensure_ascii=False))
        print(json_text({"label": TEXT}))

    lines = written(encoding, monkeypatch, write).splitlines()
    assert [json.loads(line)["label"] for line in lines[-2:]] == [TEXT, TEXT]
    assert lines[-1].isascii() == (encoding != "utf-8")
    assert any(line.startswith("+-" if encoding != "utf-8" else "┏") for line in lines)


def test_every_command_calls_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the message is about a name that is not UTF-8, or the text of a help page."""
    monkeypatch.chdir(tmp_path)

    def write() -> None:
        for arguments in (["check", "größe\udcff.toml"], ["verify", "größe€"], ["--help"], ["schema"]):
            with pytest.raises(SystemExit):
                app(arguments)

    text = written("latin-1", monkeypatch, write)
    assert "error: größe\\udcff.toml: no such recipe" in text
    assert "Usage" in text


def test_predict_in_a_process_of_its_own(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "深度"
    shutil.copytree(finished / "runs/toy/4-export", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["id2label"] = {"0": "schlecht: größe €", "1": "深度"}
    (folder / "config.json").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    done = sdp_process("predict", folder, "a great film", "--json", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["probabilities"]) == {"schlecht: größe €", "深度"}


def test_no_file_is_opened_in_the_encoding_of_the_locale() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--preview", "--select", "PLW1514"]
    folders = [REPOSITORY / name for name in ("toolchain", "export", "benchmarks")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_run_in_an_ascii_locale_writes_what_a_run_in_utf8_writes(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    ascii_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name, variables in (("plain", {}), ("ascii", ascii_locale)):
        recipe = write_project(tmp_path / name, model)
        recipe.write_text(recipe.read_text().replace("[gate]", '[ship]\nintended_use = "Für Größe €"\n[gate]'), "utf-8")
        for split, seed in (("train", 1), ("dev", 2)):
            rows = [(f"{text} größe", {"pos": "größe €", "neg": "深度"}[label]) for text, label in toy_rows(160, seed)]
            table = "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
            (tmp_path / name / f"{split}.tsv").write_text(table, encoding="utf-8")
        done = sdp_process("run", "toy.toml", cwd=tmp_path / name, env=variables)
        assert done.returncode == 0, done.stderr
        assert sdp_process("check", "toy.toml", cwd=tmp_path / name, env=variables).returncode == 0
    for file in ("4-export/config.json", "8-ship/config.json", "3-evaluate/flips.csv", "8-ship/golden.json"):
        plain, other = ((tmp_path / name / "runs/toy" / file).read_bytes() for name in ("plain", "ascii"))
        assert plain == other
    assert "Für Größe €" in (tmp_path / "ascii/runs/toy/8-ship/README.md").read_text(encoding="utf-8")
    list(csv.reader((tmp_path / "ascii/runs/toy/3-evaluate/flips.csv").open(encoding="utf-8")))
