"""The report of a tuning, its remarks and its table, from trials that no run made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sdp.choice.measured import CaseSpeedUp, DenseModel, MeasuredModel
from sdp.tune.artifacts import TuneReport
from sdp.tune.candidates import DENSE_INT8, Candidate, Trial
from sdp.tune.outcome import Outcome, Promise, Spent
from sdp.tune.report import Progress, tune_report
from sdp.tune.table import markdown, print_tuning
from sdp.tune.trials import Finished
from sdp_onnx.bench.interval import Interval

DENSE = DenseModel(metric=Interval(0.9, 0.88, 0.92), bytes=90_000_000)
SAFE, RISKY = Trial(Candidate("int8", "1x4", 0.8), 750), Trial(Candidate("int8", "1x4", 0.9), 3000)


def finished(trial: Trial, drop: float | None, speed: float, split: str = "dev", *, quiet: bool = True) -> Finished:
    interval = None if drop is None else Interval(drop, drop - 0.01, drop + 0.01)
    speedup = Interval(speed, speed - 0.1, speed + 0.1)
    row = MeasuredModel(
        folder="chosen" if split == "test" else trial.name,
        split=split,
        zeros=trial.candidate.sparsity,
        metric=None if drop is None else Interval(0.9 - drop, 0.8, 0.95),
        drop=interval,
        bytes=12_345_678,
        size_ratio=0.14,
        cases=(CaseSpeedUp(case="batch 1, 2 threads", speedup=speedup, quiet=quiet),),
        undefined="" if drop is not None else "all labels are of one class",
    )
    return Finished(Outcome(trial, interval, speedup, Spent(1.0, 1.0)), row, DENSE)


def progress(*trials: Finished, failed: Mapping[Trial, str] | None = None, held_out: bool = False) -> Progress:
    return Progress(
        name="toy",
        metric="accuracy",
        promise=Promise(0.01, 0.8),
        minutes=60,
        held_out=held_out,
        finished={own.outcome.trial: own for own in trials},
        failed=failed or {},
    )


WHOLE = progress(finished(Trial(DENSE_INT8, 0), -0.002, 2.2), finished(SAFE, 0.001, 4.5), finished(RISKY, 0.012, 6.0))


def test_the_report_names_the_choice_and_its_neighbours(tmp_path: Path) -> None:
    report = tune_report(WHOLE)
    assert (report.chosen, report.trials[0].folder) == (SAFE.name, RISKY.name)
    assert report.probability == report.trials[1].probability > 0.8
    assert [row.frontier for row in report.trials] == [True, True, True]
    text = "\n".join(report.remarks)
    assert (
        f"Chosen on dev: {SAFE.name}, the fastest that has lost at most 0.01 with a probability of at least 0.8" in text
    )
    assert "selected among 3" in text
    assert "a test split would show how much" in text
    assert "Next safer: int8-dense, 2.20 times as fast as dense fp32, P = 0.99." in text
    assert f"Next faster: {RISKY.name}, 6.00 times as fast as dense fp32, P = 0.35." in text
    # The interval around 0.012 halves with four times the rows.
    assert f"With 4 times the dev rows the loss of {RISKY.name} would be known to [0.0070, 0.0170]" in text
    assert {(own.trial, own.times) for own in report.larger_dev} == {
        (trial.name, times) for trial in (SAFE, RISKY) for times in (2, 4, 10)
    }
    report.store(tmp_path)
    assert TuneReport.read(tmp_path / "tune.json") == report
    assert json.loads((tmp_path / "tune.json").read_text()) == json.loads(json.dumps(report.to_json()))


def test_at_worst_the_dense_model_is_chosen() -> None:
    nothing = tune_report(progress())
    assert (nothing.chosen, nothing.probability, nothing.dense, nothing.larger_dev) == ("fp32-dense", 1.0, None, ())
    assert "No faster one has lost at most 0.01" in nothing.remarks[0]
    assert "| fp32 dense | 0 |  | 0 | 1.00 | 1.00 |  | chosen |" in markdown(nothing)
    losing = tune_report(progress(finished(RISKY, 0.2, 6.0)))
    assert losing.chosen == "fp32-dense"
    assert any(line.startswith(f"Next faster: {RISKY.name}") for line in losing.remarks)


def test_the_chosen_one_on_test_has_a_row_and_a_sentence() -> None:
    held_out = replace(WHOLE, held_out=True)
    assert any("test shows how much" in line for line in tune_report(held_out).remarks)
    confirmed = replace(
        held_out, confirmed=finished(SAFE, 0.004, 4.4, "test"), verdict="inconclusive", ending="The end."
    )
    report = tune_report(confirmed)
    assert report.confirmed is not None
    assert (report.confirmed.split, report.verdict) == ("test", "inconclusive")
    assert (
        "Measured once on test: lost 0.0040 [-0.0060, 0.0140]; the probability of at most 0.01 is 0.88."
        in report.remarks
    )
    assert "The recipe's own gate: inconclusive." in report.remarks
    assert report.remarks[-1] == "The end."
    assert markdown(report).count("| chosen, on test |") == 1


def test_the_remarks_name_every_reservation() -> None:
    unsure = finished(SAFE, 0.001, 1.05)
    assert any("is not shown, [0.95, 1.15]: measure" in line for line in tune_report(progress(unsure)).remarks)
    failed = {Trial(DENSE_INT8, 0): "the disk is odd"}
    noisy, undefined = finished(SAFE, 0.001, 4.5, quiet=False), finished(RISKY, None, 6.0)
    report = tune_report(progress(noisy, undefined, failed=failed))
    text = "\n".join(report.remarks)
    assert f"speed-ups are unsure of {SAFE.name}." in text
    assert "accuracy is undefined on dev: all labels are of one class." in text
    assert "int8-dense failed: the disk is odd" in text
    assert [own.trial for own in report.failed] == ["int8-dense"]
    assert report.trials[0].probability == 0
    assert "| int8 1x4 0.9 | 3,000 | undefined | undefined | 0.00 |" in markdown(report)


def test_the_table_is_sorted_by_speed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = markdown(tune_report(WHOLE)).splitlines()
    assert lines[2].startswith("| candidate | steps | accuracy, dev [95 %] | lost [95 %] | P(lost ≤ 0.01) |")
    assert [line.split(" | ")[0] for line in lines[4:8]] == [
        "| int8 1x4 0.9",
        "| int8 1x4 0.8",
        "| int8 dense",
        "| fp32 dense",
    ]
    assert lines[5].endswith("| 0.0010 [-0.0090, 0.0110] | 0.96 | 4.50 [4.40, 4.60] | 12.3 | chosen |")
    layers = Candidate("int8", "layers", 0.5, 3), Candidate("int8", "layers-1x4", 1 - 0.2 / 6, 1, 0.8)
    report = tune_report(progress(*(finished(Trial(own, 750), 0.001, 7.0 + own.sparsity) for own in layers)))
    named = [line.split(" | ")[0] for line in markdown(report).splitlines()[4:6]]
    assert named == ["| int8 1 layer, 1x4 0.8", "| int8 3 layers"]
    print_tuning(tune_report(WHOLE), Path("tune/toy"))
    printed = capsys.readouterr().out
    assert f"chosen: {SAFE.name}" in printed
    assert "recipe: tune/toy/recipe.toml" in printed
