"""Before a run trains, it goes through all its stages once: what would break off after hours breaks off there."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.errors import SdpError, StageError, StoppedError, UsageError
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import input_identities, plan, preflight_status, run_pipeline
from sdp.preflight.errors import preflight_errors
from sdp.recipe import load_recipe
from sdp.stages import finetune, preflight
from sdp_onnx.errors import ModelFileError
from support.toy import toy_rows, write_project

SHORT = ("finetune.epochs=0.3", "prune.epochs=0.3")


@pytest.fixture
def project(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that nothing was done in."""
    recipe = write_project(tmp_path, toy_model)
    recipe.write_text(recipe.read_text().replace("preflight = false", "preflight = true"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bring_up_to_date(project: Path, until: str, *overrides: str, run_dir: str = "runs/toy") -> Path:
    run, file = RunFolder(project / run_dir), project / "toy.toml"
    with run.at_work("toy", file, overrides):
        run_pipeline(load_recipe(file, overrides), run, until, Reporter(quiet=True))
    return run.path


def refused(*arguments: str) -> tuple[int, list[str]]:
    """Exit code of `sdp run`, and what it printed from the error on."""
    done = CliRunner().invoke(app, ["run", "toy.toml", *arguments])
    lines = done.stderr.splitlines()
    return done.exit_code, lines[next(place for place, line in enumerate(lines) if line.startswith("error: ")) :]


def test_a_finished_run_went_through_all_stages_and_does_not_again(finished: Path) -> None:
    record = json.loads((finished / "runs/toy/0-preflight/stage.json").read_text())
    assert record["outputs"] == {}
    assert 10 <= record["result"]["rows"] <= 20
    on = "runtime.preflight=true"
    recipe, run = load_recipe(finished / "toy.toml", (on,)), RunFolder(finished / "runs/toy")
    identities = input_identities(recipe, download=False)
    assert preflight_status(recipe, run, identities, plan(recipe, run, identities)) is None
    for override, reason in (("prune.sparsity=0.5", "prune.sparsity changed: 0.8 -> 0.5"), ("seed=1", "up to date")):
        changed = load_recipe(finished / "toy.toml", (on, override))
        assert preflight_status(changed, run, identities, plan(changed, run, identities)).reason == reason


def test_training_is_bit_for_bit_what_it_is_without(project: Path) -> None:
    without = bring_up_to_date(project, "finetune", *SHORT, run_dir="without")
    after = bring_up_to_date(project, "preflight", *SHORT, run_dir="after")
    assert [path.name for path in (after / "0-preflight").iterdir()] == ["stage.json"]
    bring_up_to_date(project, "finetune", *SHORT, run_dir="after")
    weights, others = (load_file(run / "1-finetune/model.safetensors") for run in (without, after))
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())


def test_what_pruning_refuses_is_refused_before_fine_tuning(project: Path) -> None:
    code, lines = refused("--set", 'prune.losses=[{name="hidden", layers=[3]}]')
    assert code == 2
    assert lines == [
        "error: preflight, prune: prune.losses: the model has 2 layers, and the loss hidden asks for layer 3",
        "  Give layers from 1 to 2, from -2 to -1, or 0 for the embeddings' output.",
    ]
    assert not (project / "runs/toy/1-finetune").exists()
    assert not (project / "runs/toy/1-finetune.partial").exists()
    assert [path.name for path in (project / "runs/toy/0-preflight.partial").iterdir()] == ["stage.json"]


def test_text_without_labels_is_read_before_fine_tuning(project: Path) -> None:
    (project / "more.tsv").write_text("title\nsome film\n")
    options = ("--set", 'data.unlabeled=["more.tsv"]')
    code, lines = refused(*options)
    assert code == 2
    assert lines[0].startswith(f"error: preflight, prune: {project / 'more.tsv'}: ")
    assert "sentence" in lines[0]
    assert not (project / "runs/toy/1-finetune").exists()
    (project / "more.tsv").write_text("sentence\n" + "".join(f"{text}\n" for text, _ in toy_rows(50, seed=4)))
    bring_up_to_date(project, "preflight", 'data.unlabeled=["more.tsv"]', *SHORT)


def test_an_error_names_the_users_folder(project: Path, toy_model: Path) -> None:
    (project / "model").unlink()
    shutil.copytree(toy_model, project / "model")
    weights = load_file(project / "model/model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] = torch.nan
    save_file(weights, project / "model/model.safetensors", {"format": "pt"})
    name = "bert.encoder.layer.1.output.dense.bias"
    where = f"preflight, finetune: {project / 'model'}: {name}"
    assert refused() == (2, [f"error: {where}: the weights are no finite numbers"])


@pytest.mark.parametrize(
    ("until", "overrides", "goes_through"),
    [("export", (), True), ("prune", (), False), ("export", ("runtime.preflight=false",), False)],
)
def test_when_it_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch, until: str, overrides: tuple[str, ...], goes_through: bool
) -> None:
    def broken(*_: object) -> dict:
        raise StageError("power is gone")

    with monkeypatch.context() as patch:
        went: list[str] = []
        patch.setattr(preflight, "run", lambda *_: went.append("preflight") or {})
        patch.setattr(finetune, "run", broken)
        for _ in range(2):
            with pytest.raises(StageError, match="power"):
                bring_up_to_date(project, until, *overrides)
    assert went == ["preflight"] * goes_through


def test_check_lists_it_where_training_is_to_come(project: Path) -> None:
    stages = json.loads(CliRunner().invoke(app, ["check", "toy.toml", "--json"]).stdout)["stages"]
    assert [stage["stage"] for stage in stages[:2]] == ["preflight", "finetune"]
    assert "preflight" in CliRunner().invoke(app, ["check", "toy.toml"]).stdout


def output(error: BaseException, details: Path) -> SdpError:
    """What comes out of the preflight when its export breaks off."""
    with pytest.raises(SdpError) as caught, preflight_errors("export", {"/run/job/model": "/models/mine"}, details):
        raise error
    return caught.value


def test_an_error_of_ours_keeps_its_kind_and_its_hint(tmp_path: Path) -> None:
    error = UsageError("is damaged", where="/run/job/model/config.json", hint="Copy /run/job/model again.")
    found = output(error, tmp_path / "details")
    assert str(found) == "preflight, export: /models/mine/config.json: is damaged\n  Copy /models/mine again."
    assert found.exit_code == 2
    # Nobody can export anew, or copy, what the preflight has just made.
    assert output(ModelFileError("is refused", hint="Export it again."), tmp_path / "details").hint == ""


def test_any_other_error_is_one_message_and_its_traceback_a_file(tmp_path: Path) -> None:
    found = output(IndexError("index out of range\nand more"), tmp_path / "traceback.txt")
    assert isinstance(found, StageError)
    assert str(found).splitlines()[0] == "preflight, export: IndexError: index out of range"
    assert str(tmp_path / "traceback.txt") in found.hint
    assert "--set runtime.preflight=false" in found.hint
    assert "IndexError" in (tmp_path / "traceback.txt").read_text()


def test_a_signal_and_a_full_disk_are_reported_as_everywhere(tmp_path: Path) -> None:
    stopped = output(StoppedError("stopped; a checkpoint was saved", number=15), tmp_path / "details")
    assert (str(stopped), stopped.exit_code) == ("stopped in the preflight: nothing was trained yet", 143)
    with pytest.raises(OSError, match="No space"), preflight_errors("export", {}, tmp_path / "details"):
        raise OSError(errno.ENOSPC, "No space left on device")
