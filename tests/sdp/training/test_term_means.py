"""Means of terms between two log records."""

from __future__ import annotations

from pathlib import Path

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


def test_the_sums_survive_a_checkpoint(tmp_path: Path) -> None:
    whole, first, second = TermMeans(), TermMeans(), TermMeans()
    values = torch.rand(5, generator=torch.Generator().manual_seed(0))
    for number, value in enumerate(values):
        terms = {"loss": value, **({"kld": value / 3} if number % 2 else {})}
        whole.add(terms)
        (first if number < 3 else second).add(terms)
        if number == 2:
            first.save(tmp_path)
            second.load(tmp_path, torch.device("cpu"))
    assert second.take() == whole.take()
    second.save(tmp_path)
    first.load(tmp_path, torch.device("cpu"))
    assert first.take() == {}


def test_a_checkpoint_right_after_a_log_record(tmp_path: Path) -> None:
    """One batch since then, and a loss that is its only term: the same tensor under two names."""
    value, means = torch.tensor(2.0), TermMeans()
    means.add({"loss": value, "task": value})
    means.save(tmp_path)
    again = TermMeans()
    again.load(tmp_path, torch.device("cpu"))
    assert again.take() == means.take() == {"loss": 2.0, "task": 2.0}
