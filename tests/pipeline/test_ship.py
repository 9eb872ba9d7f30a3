"""The shipped folder in the pipeline: what is in it, when it is made, and when it is taken away."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from huggingface_hub import metadata_load
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.errors import StageError
from sdp.pipeline.artifacts.results import load_results
from sdp.pipeline.gate_verdict import gate_verdict, withhold
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe import load_recipe
from sdp.shipping.card import model_card
from sdp.shipping.folder import place, take_exported
from sdp.shipping.licenses import find_licenses
from sdp_onnx.deploy.manifest import file_sha256
from sdp_onnx.deploy.verify_folder import verify_folder
from sdp_onnx.operators.library import LIBRARY_NAME, has_library
from support.artifacts import coverage_report, vocabulary_report
from support.card import answers_as_predict_does, examples
from support.toy import sdp


@pytest.fixture(scope="module")
def shipped(finished: Path) -> Path:
    return finished / "runs" / "toy" / "8-ship"


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def test_what_was_exported_is_there_once_on_the_disk(shipped: Path) -> None:
    exported = shipped.with_name("4-export")
    for name in ("model.onnx", "tokenizer.json", "config.json", *([LIBRARY_NAME] if has_library() else [])):
        assert (shipped / name).samefile(exported / name)
    assert not (shipped / "metrics.json").exists()


def test_the_manifest_shows_measurements_verdict_and_licences(shipped: Path) -> None:
    manifest = json.loads((shipped / "manifest.json").read_text())
    run = shipped.parent
    assert manifest["gate"] == json.loads((run / "6-gate" / "verdict.json").read_text())
    assert manifest["metrics"] == json.loads((run / "4-export" / "metrics.json").read_text())
    assert manifest["benchmark"]["cases"] == json.loads((run / "5-bench" / "latency.json").read_text())["cases"]
    assert manifest["licenses"]["shipped"] == {"name": "unknown", "source": ""}
    assert manifest["operator_library"] == (LIBRARY_NAME if has_library() else None)
    # Only names of files go out.
    for name in ("manifest.json", "README.md", "golden.json"):
        assert str(run.parents[1]) not in (shipped / name).read_text()


def test_the_cards_examples_run_in_a_copy_of_the_folder(shipped: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(shipped, folder)
    found = examples(folder)
    assert ["optimum" in example for example in found] == [False, False, True]
    for example in found[:2]:
        answers_as_predict_does(folder, example)


def test_the_card_shows_what_the_files_hold(shipped: Path) -> None:
    front = metadata_load(shipped / "README.md")
    body = (shipped / "README.md").read_text().partition("\n---\n")[2]
    metrics = json.loads((shipped.parent / "4-export" / "metrics.json").read_text())
    (result,) = front["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": metrics["models"]["exported"]["value"]}]
    assert (front["pipeline_tag"], front["license"], "base_model" in front) == (
        "text-classification",
        "unknown",
        False,
    )
    cells = {
        row[0]: row[1:] for row in ([c.strip() for c in line.split("|")[1:-1]] for line in body.splitlines()) if row
    }
    assert cells["encoder zeros"] == ["0.0%", "80.0%", "80.0%"]
    assert cells["accuracy on dev"][2] == f"{metrics['models']['exported']['value']:.3f}"
    assert cells["data"] == ["unknown", "nobody"]
    assert "Not declared." in body


def test_the_card_shows_a_trimmed_vocabulary(shipped: Path) -> None:
    run, recipe = shipped.parent, load_recipe(shipped.parents[2] / "toy.toml")
    found, results = find_licenses(recipe), load_results(RunFolder(run))
    plain = model_card(recipe, results, found, operator_library=None, tolerance=1e-4, framed=True, oldest="1.17")
    assert "vocabulary was cut down" not in plain
    counts = {"pieces_before": 250_002, "pieces_after": 24_000, "held_out_texts": 1_234}
    trimmed = vocabulary_report(**counts, coverage=coverage_report(9, 0.984))
    card = model_card(
        recipe,
        replace(results, vocabulary=trimmed),
        found,
        operator_library=None,
        tolerance=1e-4,
        framed=True,
        oldest="1.17",
    )
    assert "cut down from 250,002 to 24,000 pieces" in card
    assert "words of 1,234 texts that had no part in the choice 98.4 % are split" in card
    no_words = replace(results, vocabulary=vocabulary_report(**counts))
    assert "cut down" in model_card(
        recipe, no_words, found, operator_library=None, tolerance=1e-4, framed=True, oldest="1.17"
    )


def test_words_and_licences_of_the_recipe_are_shipped_without_training_anew(project: Path) -> None:
    settings = ('ship.license="Apache-2.0"', 'ship.data_license="cc-by-4.0"', 'ship.intended_use="Praise of films."')
    given = [part for setting in settings for part in ("--set", setting)]
    done = sdp("ship", "toy.toml", *given, cwd=project, check=True)
    assert done.stderr.count("up to date") == 7
    assert "licence unknown" not in done.stderr
    assert f"shipped: {project}/runs/toy/8-ship" in done.stdout
    card = (project / "runs/toy/8-ship/README.md").read_text()
    assert "\nlicense: apache-2.0\n" in card
    assert "| data | cc-by-4.0 | the recipe |" in card
    assert "Praise of films." in card
    assert verify_folder(project / "runs/toy/8-ship").ok


def test_what_the_gate_refuses_is_not_shipped(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    folder = project / "runs" / "toy" / "8-ship"
    done = CliRunner().invoke(app, ["run", "toy.toml", "--set", "gate.max_size_ratio=0.01"])
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ship ")]
    assert line == "ship      not made: the gate's verdict is fail; the older 8-ship is removed"
    assert not folder.exists()
    assert (folder.with_name("4-export") / "model.onnx").stat().st_size > 0
    assert "not shipped: the gate's verdict is fail\n" in done.stdout
    checked = json.loads(CliRunner().invoke(app, ["check", "--json"]).stdout)["stages"][-1]
    assert checked == {"stage": "ship", "up_to_date": False, "reason": "only when the gate passes; its verdict is fail"}
    # Allowed again, it comes back: nothing but gate, report and ship runs.
    again = CliRunner().invoke(app, ["run", "toy.toml"])
    assert (again.exit_code, again.stderr.count("up to date")) == (0, 5)
    assert verify_folder(folder).ok


@pytest.mark.parametrize("verdict", ["fail", "inconclusive"])
def test_a_gate_that_does_not_pass_takes_the_folder_away(
    verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    run.stage("6-gate").mkdir()
    for wanted, line in ((True, "removed"), (True, f"not made: the gate's verdict is {verdict}"), (False, "")):
        if line == "removed":
            run.stage("8-ship").mkdir()
            (run.stage("8-ship") / "model.onnx").touch()
            run.partial("8-ship").mkdir()
        (run.stage("6-gate") / "verdict.json").write_text(json.dumps({"verdict": verdict}))
        withhold(run, Reporter(), wanted=wanted)
        printed = capsys.readouterr().err
        assert line in printed
        assert printed.count("\n") == bool(line)
        assert [entry.name for entry in tmp_path.iterdir()] == ["6-gate"]
    (run.stage("6-gate") / "verdict.json").write_text('{"verdict": "pass"}')
    run.stage("8-ship").mkdir()
    withhold(run, Reporter(), wanted=False)
    assert (gate_verdict(run), run.stage("8-ship").exists()) == ("pass", True)


def test_a_folder_that_is_linked_in_is_taken_away_and_what_the_link_leads_to_stays(tmp_path: Path) -> None:
    run, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    run.stage("6-gate").mkdir(parents=True)
    (run.stage("6-gate") / "verdict.json").write_text('{"verdict": "fail"}')
    elsewhere.mkdir()
    run.stage("8-ship").symlink_to(elsewhere)
    withhold(run, Reporter(), wanted=False)
    assert not run.stage("8-ship").exists()
    assert elsewhere.is_dir()


def state(run: Path) -> dict[str, str]:
    """Every file of a run by its content."""
    return {str(path): file_sha256(path) for path in sorted(run.rglob("*")) if path.is_file()}


def verdicts(run: Path) -> dict[str, str | None]:
    """The verdict as each place has it that a reader may look at."""
    page = (run / "report.html").read_text()
    manifest = run / "8-ship" / "manifest.json"
    return {
        "verdict.json": json.loads((run / "6-gate/verdict.json").read_text())["verdict"],
        "summary.md": re.findall(r"\*\*(\w+)\*\*", (run / "6-gate/summary.md").read_text())[0],
        "report.html": re.findall(r'class="verdict \w+">(\w+)<', page)[0],
        "8-ship": json.loads(manifest.read_text())["gate"]["verdict"] if manifest.is_file() else None,
    }


@pytest.mark.parametrize("option", [[], ["--no-update"]])
def test_other_thresholds_are_tried_without_changing_anything(
    option: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    before = state(project / "runs/toy")
    tried = ["gate.max_size_ratio=0.01", "gate.max_metric_drop=0.5"]
    done = CliRunner().invoke(app, ["gate", "toy.toml", *option, "--set", tried[0], "--set", tried[1]])
    assert done.exit_code == 1
    assert state(project / "runs/toy") == before
    lines = done.stdout.splitlines()
    assert lines[-3] == "what if: the verdict would be fail with gate.max_size_ratio=0.01, gate.max_metric_drop=0.5"
    assert lines[-2] == f"nothing was changed: {project}/runs/toy has the verdict pass as before"
    command = lines[-1].rpartition(", or ")[2]
    assert command == f"sdp run toy.toml --set {tried[0]} --set {tried[1]}"
    asked = json.loads(CliRunner().invoke(app, ["gate", "runs/toy", *option, "--json", "--set", tried[0]]).stdout)
    assert (asked["verdict"], asked["exit_code"], asked["changed"]) == ("fail", 1, False)
    assert state(project / "runs/toy") == before


def test_after_every_command_all_places_have_one_verdict(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    run, recipe = project / "runs/toy", project / "toy.toml"
    loose = recipe.read_text()
    recipe.write_text(loose.replace("max_size_ratio = 1.0", "max_size_ratio = 0.01"))
    stricter = CliRunner().invoke(app, ["gate", "toy.toml"])
    assert stricter.exit_code == 1
    assert "the older 8-ship is removed" in stricter.stderr
    assert "not shipped: the gate's verdict is fail\n" in stricter.stdout
    assert verdicts(run) == {"verdict.json": "fail", "summary.md": "fail", "report.html": "fail", "8-ship": None}
    # Looser again: what follows the verdict is made, 8-ship too.
    recipe.write_text(loose)
    looser = CliRunner().invoke(app, ["gate", "toy.toml"])
    assert looser.exit_code == 0
    assert f"\nshipped: {run}/8-ship\n" in looser.stdout
    assert set(verdicts(run).values()) == {"pass"}
    # Without an update the report is made of the new verdict, and a folder of an older one is called so.
    recipe.write_text(loose.replace("max_size_ratio = 1.0", "max_size_ratio = 2.0"))
    judged = CliRunner().invoke(app, ["gate", "toy.toml", "--no-update"])
    assert "must be at most 2 " in (run / "report.html").read_text()
    assert f"shipped: {run}/8-ship (of an earlier verdict; renew it with: sdp ship {run})\n" in judged.stdout
    recipe.write_text(loose.replace("max_size_ratio = 1.0", "max_size_ratio = 0.01"))
    assert CliRunner().invoke(app, ["gate", "toy.toml", "--no-update"]).exit_code == 1
    assert verdicts(run) == {"verdict.json": "fail", "summary.md": "fail", "report.html": "fail", "8-ship": None}


def test_results_of_before_are_not_shown_as_those_of_now(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["evaluate", "toy.toml", "--set", "evaluate.resamples=100"])
    assert done.exit_code == 0, done.output
    older = "older, and not shown: export, bench, gate (evaluate.resamples changed: 200 -> 100)"
    run = project / "runs/toy"
    assert f"{older}; to bring all up to date: sdp run {run}\n" in done.stdout
    assert "gate: pass" not in done.stdout
    assert "ONNX file" not in done.stdout
    assert f"report: {run}/report.html (of an earlier state)\n" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("shipped: ")]
    assert line.startswith(f"shipped: {run}/8-ship (older: ")
    assert line.endswith(f"; renew it with: sdp ship {run})")
    answer = json.loads(CliRunner().invoke(app, ["evaluate", "--json"]).stdout)
    assert list(answer["older"]) == ["export", "bench", "gate", "report", "ship"]
    assert {"evaluate", "prune"} < answer.keys() - {"gate", "export", "bench"}
    # What the line gives works as it stands.
    renewed = CliRunner().invoke(app, ["run", str(run)])
    assert renewed.exit_code == 0
    assert "older" not in renewed.stdout


def test_a_folder_of_an_earlier_export_is_called_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    record = project / "runs/toy/4-export/stage.json"
    content = json.loads(record.read_text())
    content["outputs"]["model.onnx"]["sha256"] = "0" * 64
    record.write_text(json.dumps(content))
    from sdp.report.summary import summary_lines

    run = project / "runs/toy"
    assert summary_lines(RunFolder(Path("runs/toy")))[-1] == (
        f"shipped: {run}/8-ship (of an earlier export; renew it with: sdp ship {run})"
    )
    pushed = CliRunner().invoke(app, ["push", "runs/toy", "owner/name"])
    assert pushed.exit_code != 0
    assert "what was shipped is of an earlier export" in pushed.stderr
    assert f"sdp ship {run}" in pushed.stderr
    # The folder itself is what it is.
    assert CliRunner().invoke(app, ["push", "runs/toy/8-ship", "owner/name"]).exit_code == 0


def test_an_export_that_was_changed_is_not_shipped(tmp_path: Path) -> None:
    source, target = tmp_path / "4-export", tmp_path / "8-ship"
    source.mkdir()
    target.mkdir()
    (source / "model.onnx").write_text("changed")
    with pytest.raises(StageError, match="changed since it was exported"):
        take_exported(source, target, {"model.onnx": {"bytes": 7, "sha256": "0" * 64}})


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "model.onnx"
    source.write_text("weights")

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    place(source, tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx").read_text() == "weights"
    assert not (tmp_path / "copy.onnx").samefile(source)


def test_weights_beside_the_model_are_copied_because_onnx_refuses_linked_ones(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "weights")
    graph = onnx.helper.make_graph([], "graph", [], [], [weights])
    model = onnx.helper.make_model(graph)
    (tmp_path / "4-export").mkdir()
    (tmp_path / "8-ship").mkdir()
    file = tmp_path / "4-export" / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    for name in ("model.onnx", "model.onnx.data"):
        place(file.with_name(name), tmp_path / "8-ship" / name)
    for folder in ("4-export", "8-ship"):
        (found,) = onnx.load(tmp_path / folder / "model.onnx").graph.initializer
        assert onnx.numpy_helper.to_array(found)[-1] == 999
    assert (tmp_path / "8-ship" / "model.onnx").samefile(file)


def test_verify_prints_a_line_a_file_and_ends_with_what_it_found(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(shipped, tmp_path / "run" / "8-ship")
    whole = CliRunner().invoke(app, ["verify", str(tmp_path / "run")])
    assert (whole.exit_code, whole.stdout.splitlines()[-1].endswith("as it was shipped")) == (0, True)
    assert [line.split()[1] for line in whole.stdout.splitlines()[:2]] == ["manifest.json", "README.md"]
    (tmp_path / "run" / "8-ship" / "config.json").unlink()
    broken = CliRunner().invoke(app, ["verify", str(tmp_path / "run" / "8-ship"), "--json"])
    report = json.loads(broken.stdout)
    assert (broken.exit_code, report["ok"]) == (1, False)
    assert {"name": "config.json", "outcome": "failed", "detail": "is missing"} in report["checks"]
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "gone")]).exit_code == 2


def test_names_from_elsewhere_are_printed_on_one_line_each(shipped: Path, tmp_path: Path) -> None:
    """A file's name may hold what clears the line before it, or bytes that are no text at all."""
    folder = tmp_path / "8-ship"
    shutil.copytree(shipped, folder)
    for name in (b"a\x1b[2K\nok", b"\xff"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).touch()
    done = sdp("verify", folder, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    lines = [line for line in done.stdout.splitlines() if line.endswith("is not in the manifest")]
    assert [line.split()[1] for line in lines] == [r"a\x1b[2K\nok", r"\udcff"]
