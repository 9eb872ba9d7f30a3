"""The table's arithmetic against closed forms and published values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from sdp.statistics.seeds import PairedDifference, holm, mean_interval, paired_difference, summarize

# Student's own data (1908, "The probable error of a mean"): additional hours of sleep with two drugs, ten patients.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def difference(values: Sequence[float], baseline: Sequence[float]) -> PairedDifference:
    """Of values whose seeds are their places."""
    found = paired_difference(dict(enumerate(values)), dict(enumerate(baseline)))
    assert found is not None
    return found


def ends_of(found: PairedDifference) -> tuple[float, float]:
    assert found.interval is not None
    assert found.interval.value == found.mean
    return found.interval.low, found.interval.high


def test_students_sleep_data() -> None:
    """t = 4.0621, df = 9, p = 0.002833, interval 0.7001 to 2.4599: what R's t.test prints for this data set."""
    found = difference(SECOND, FIRST)
    assert (found.n, found.mean) == (10, pytest.approx(1.58))
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert ends_of(found) == (pytest.approx(0.7001142, abs=1e-6), pytest.approx(2.4598858, abs=1e-6))


scores = st.floats(0, 1, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=8))
def test_the_paired_test_is_its_closed_form(pairs: list[tuple[float, float]]) -> None:
    values, baseline = [a for a, _ in pairs], [b for _, b in pairs]
    differences = [a - b for a, b in pairs]
    assume(max(differences) - min(differences) > 1e-6)
    n = len(pairs)
    mean = math.fsum(differences) / n
    error = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    found = difference(values, baseline)
    # Two-sided p of Student's t by the incomplete beta function.
    p = float(special.betainc((n - 1) / 2, 0.5, (n - 1) / (n - 1 + (mean / error) ** 2)))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.p == pytest.approx(p, rel=1e-6, abs=1e-12)
    assert ends_of(found) == (pytest.approx(mean - half), pytest.approx(mean + half))
    turned = difference(baseline, values)
    assert (turned.mean, ends_of(turned)[0]) == (pytest.approx(-found.mean), pytest.approx(-ends_of(found)[1]))
    assert turned.p == pytest.approx(found.p, abs=1e-12)


def test_cases_without_variance_are_defined() -> None:
    assert difference([0.5], [0.25]) == PairedDifference(1, 0.25, None, None)
    same = difference([0.5, 0.7], [0.5, 0.7])
    assert (same.mean, ends_of(same), same.p) == (0, (0, 0), 1.0)
    # 0.8 - 0.7 and 0.4 - 0.3 differ in the last bit only.
    constant = difference([0.8, 0.4, 0.2], [0.7, 0.3, 0.1])
    assert constant.p is None
    assert ends_of(constant) == (pytest.approx(0.1), pytest.approx(0.1))


def test_arms_without_a_common_seed_have_no_difference() -> None:
    assert paired_difference({1: 0.5}, {2: 0.5}) is None
    found = paired_difference({1: 0.5, 2: 0.75, 3: 1.0}, {4: 0.1, 3: 0.5, 2: 0.5})
    assert found is not None
    assert (found.n, found.mean) == (2, 0.375)


def test_a_summary_is_mean_and_sample_deviation() -> None:
    found = summarize([1.0, 2.0, 4.0])
    assert (found.n, found.mean, found.sd) == (3, pytest.approx(7 / 3), pytest.approx(math.sqrt(7 / 3)))
    assert summarize([2.0]).sd is None


def test_the_interval_of_a_mean() -> None:
    assert mean_interval([1.0]) is None
    found = mean_interval([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.low, found.high) == (
        pytest.approx(2 - 4.302653 / math.sqrt(3)),
        pytest.approx(2 + 4.302653 / math.sqrt(3)),
    )


def test_holm_against_rs_p_adjust() -> None:
    """p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    """By the definition: walk up the sorted values while p <= alpha / (m - k + 1)."""
    corrected = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        assume(all(abs(c - alpha) > 1e-9 for c in corrected if c is not None))
        rejected = set()
        for rank, place in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[place] > alpha / (len(p_values) - rank):
                break
            rejected.add(int(place))
        assert {place for place, c in enumerate(corrected) if c is not None and c <= alpha} == rejected
