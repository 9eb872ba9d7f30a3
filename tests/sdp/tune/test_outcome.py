"""Which trial is chosen, and what lies on the frontier."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdp.tune.candidates import DENSE_FP32, Candidate, Trial
from sdp.tune.outcome import REFERENCE, Outcome, Promise, Spent, chosen_outcome, measured_speeds, on_frontier
from sdp_onnx.bench.interval import Interval


def outcome(sparsity: float, drop: float | None, speed: float, steps: int = 0, half: float = 0.01) -> Outcome:
    interval = None if drop is None else Interval(drop, drop - half, drop + half)
    return Outcome(Trial(Candidate("int8", "1x4", sparsity), steps), interval, Interval.exact(speed), Spent(1.0, 1.0))


PROMISE = Promise(0.01, 0.8)


def test_the_fastest_that_keeps_the_promise_is_chosen() -> None:
    finished = [outcome(0.6, -0.01, 3.0), outcome(0.7, 0.0, 4.0), outcome(0.8, 0.009, 5.0), outcome(0.9, 0.1, 7.0)]
    assert chosen_outcome(finished, PROMISE) is finished[1]
    assert chosen_outcome(finished, Promise(0.01, 0.5)) is finished[2]
    assert chosen_outcome(finished, Promise(0.01, 0.99)) is finished[0]
    assert chosen_outcome(finished, Promise(0.2, 0.8)) is finished[3]


def test_at_worst_it_is_the_dense_model() -> None:
    assert chosen_outcome([], PROMISE) is REFERENCE
    assert chosen_outcome([outcome(0.9, 0.3, 7.0), outcome(0.8, None, 6.0)], Promise(0.0, 0.99)) is REFERENCE
    assert REFERENCE.trial.candidate == DENSE_FP32
    # What keeps it and is slower is of no use.
    assert chosen_outcome([outcome(0.6, -0.01, 0.9)], PROMISE) is REFERENCE


def test_of_two_trainings_of_a_candidate_the_safer_one_is_chosen() -> None:
    # Their speeds differ by noise: the longest training's counts for both.
    short, full = outcome(0.8, 0.0, 5.1, steps=10), outcome(0.8, -0.002, 5.0, steps=40)
    assert measured_speeds([full, short]) == {full.trial.candidate: 5.0}
    assert chosen_outcome([short, full], PROMISE) is full
    assert short not in on_frontier([short, full], PROMISE)


OUTCOMES = st.builds(
    outcome,
    st.sampled_from([0.6, 0.7, 0.8, 0.9]),
    st.one_of(st.none(), st.floats(-0.05, 0.3)),
    st.floats(0.5, 10),
    st.sampled_from([0, 10, 40]),
    st.sampled_from([0.0, 0.01]),
)


@given(
    st.lists(OUTCOMES, max_size=8, unique_by=lambda own: own.trial),
    st.floats(0, 0.1),
    st.sampled_from([0.5, 0.8, 0.99]),
)
def test_the_choice_is_on_the_frontier_which_nothing_beats(
    finished: list[Outcome], max_drop: float, confidence: float
) -> None:
    promise = Promise(max_drop, confidence)
    chosen, frontier = chosen_outcome(finished, promise), on_frontier(finished, promise)
    everything = [*finished, REFERENCE]
    speeds = measured_speeds(everything)
    assert chosen in frontier
    assert chosen.probability(promise) >= confidence
    for own in frontier:
        better = [
            other
            for other in everything
            if speeds[other.trial.candidate] >= speeds[own.trial.candidate]
            and other.probability(promise) > own.probability(promise)
        ]
        assert better == []
    for other in everything:
        dominated = any(
            speeds[own.trial.candidate] >= speeds[other.trial.candidate]
            and own.probability(promise) >= other.probability(promise)
            for own in frontier
        )
        assert dominated or other in frontier
    assert [speeds[own.trial.candidate] for own in frontier] == sorted(
        (speeds[own.trial.candidate] for own in frontier), reverse=True
    )
