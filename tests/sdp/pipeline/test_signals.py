"""The first Ctrl-C is answered at once, before the work has come to its end; the second ends it at once."""

from __future__ import annotations

import signal

import pytest
import typer

from sdp.cli.errors import handle_errors
from sdp.errors import StoppedError
from sdp.pipeline.progress import Reporter
from sdp.pipeline.signals import announce
from sdp.training.callback import StepCallback, stop_on_signal

WORDS = "stopping after this step: a checkpoint will be saved (once more: stop without it)\n"


def signalled(*numbers: int) -> None:
    """A training that meets signals in the middle of a step."""
    with Reporter(quiet=True).task("training", 9) as task, stop_on_signal(StepCallback(task, 60.0)):
        for number in numbers:
            signal.raise_signal(number)
        announce("the step goes on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_prints_at_the_signal_and_stops_at_the_step(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoppedError, match="the last checkpoint is done again") as ended:
        signalled(number)
    assert ended.value.exit_code == 128 + number
    assert capfd.readouterr().err == f"{WORDS}the step goes on\n"


def test_the_second_ends_it_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, handle_errors():
        signalled(signal.SIGINT, signal.SIGINT)
    assert ended.value.exit_code == 130
    end = "stopped; finished stages are kept, and the same command goes on from there\n"
    assert capfd.readouterr().err == f"{WORDS}{end}"


def clean_up_after_a_signal() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        announce("cleaning up")


def test_other_work_prints_it_before_it_cleans_up(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), handle_errors():
        clean_up_after_a_signal()
    assert capfd.readouterr().err.startswith("stopping\ncleaning up\nstopped; ")


def test_a_closed_terminal_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*given: object) -> None:
        raise OSError("closed")

    monkeypatch.setattr("os.write", closed)
    announce("stopping")
