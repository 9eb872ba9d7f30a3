"""Times of parts made to fit the times of whole files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.pruning.measured_times import fitted

MS = st.floats(0.01, 100)


def test_two_files_on_a_line_are_met_by_both() -> None:
    assert fitted([3.0, 1.0], [7.0, 4.0]) == pytest.approx((1.5, 2.5))
    # Without products of the library all is the rest.
    assert fitted([0.0, 0.0], [7.0, 4.0]) == (1.0, 4.0)


@given(MS, MS, MS, MS)
def test_neither_number_is_negative_and_the_second_file_is_met(a: float, b: float, before: float, after: float) -> None:
    products = [max(a, b), min(a, b)]
    factor, rest = fitted(products, [before, after])
    assert factor > 0
    assert rest >= -1e-9
    assert factor * products[1] + rest == pytest.approx(after)
    if before <= after:
        assert factor == pytest.approx(min(1.0, after / products[1]))
