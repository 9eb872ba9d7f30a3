"""Means of terms between two log records."""

from __future__ import annotations

import torch

from sdp.training.term_means import TermMeans


def test_each_term_is_averaged_over_the_batches_that_had_it() -> None:
    means = TermMeans()
    means.add({"task": torch.tensor(1.0), "kld": torch.tensor(4.0)})
    means.add({"task": torch.tensor(2.0)})
    means.add({"task": torch.tensor(6.0), "kld": torch.tensor(0.0)})
    assert means.take() == {"task": 3.0, "kld": 2.0}
    assert means.take() == {}
    means.add({"task": torch.tensor(5.0)})
    assert means.take() == {"task": 5.0}


def test_what_is_added_stays_what_it_was() -> None:
    value = torch.tensor(1.0)
    means = TermMeans()
    means.add({"task": value})
    means.add({"task": value})
    assert float(value) == 1.0
