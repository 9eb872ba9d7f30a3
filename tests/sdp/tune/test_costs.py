"""What trials take: medians of what was measured, and guesses before."""

from __future__ import annotations

import pytest

from sdp.tune.candidates import DENSE_INT8, Candidate, Trial
from sdp.tune.costs import FIRST_GUESS, MARGIN, costs, first_step_seconds
from sdp.tune.outcome import Outcome, Spent
from sdp_onnx.bench.interval import Interval

BLOCKS = Candidate("int8", "1x4", 0.8)


def outcome(trial: Trial, pruning: float | None, measuring: float) -> Outcome:
    return Outcome(trial, Interval.exact(0.0), Interval.exact(2.0), Spent(pruning, measuring))


def test_before_the_first_trial_there_are_guesses() -> None:
    known = costs((), 0.5)
    assert (known.measuring, known.one_shot, known.step) == (FIRST_GUESS, FIRST_GUESS, 0.5)
    assert known.of(Trial(DENSE_INT8, 0)) == MARGIN * FIRST_GUESS
    assert known.of(Trial(BLOCKS, 100)) == MARGIN * (50 + FIRST_GUESS)


def test_measured_times_replace_them() -> None:
    finished = [
        outcome(Trial(DENSE_INT8, 0), 3.0, 40.0),
        outcome(Trial(BLOCKS, 0), 20.0, 50.0),
        outcome(Trial(BLOCKS, 100), 30.0, 60.0),
        # Taken up from an earlier attempt, whose time is not known.
        outcome(Trial(BLOCKS, 200), None, 60.0),
    ]
    known = costs(finished, 9.0)
    assert (known.measuring, known.one_shot, known.step) == (55.0, 20.0, 0.3)
    assert known.of(Trial(BLOCKS, 0)) == pytest.approx(MARGIN * 75)
    assert known.of(Trial(BLOCKS, 400), done=300) == pytest.approx(MARGIN * (30 + 55))


def test_the_first_step_is_guessed_from_fine_tuning_or_an_evaluation() -> None:
    # A teacher's forward pass more than fine-tuning, and twice the rows.
    assert first_step_seconds((30.0, 100), 16, 32, 5.0) == pytest.approx(0.3 * 2 * 4 / 3)
    assert first_step_seconds(None, 16, 32, 0.01) == pytest.approx(4 * 32 * 0.01)
    assert first_step_seconds(None, 16, 32, None) == float("inf")
