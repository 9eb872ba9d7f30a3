"""benchmarks/studies/language_tables.py on results with known figures."""

from __future__ import annotations

import numpy as np
import pytest
import typer

from language_result import ArmResult, ModelSize, Setup, packed, scored
from language_tables import markdown

SETUP = Setup(task="pawsx", model="tiny", languages=("de", "en", "fr"), test_items=20, settings=())


def result(arm: str, seed: int, **lost: int) -> ArmResult:
    """An arm that has the last items of each language wrong, as many as given."""
    right = {name: np.arange(20) < 20 - lost.get(name, 0) for name in SETUP.languages}
    dense = {name: np.ones(20) for name in SETUP.languages}
    scores, gap = scored({name: own.astype(float) for name, own in right.items()}, None if arm == "dense" else dense)
    return ArmResult(
        setup=SETUP,
        arm=arm,
        seed=seed,
        settings=(),
        sparsity=0.0 if arm == "dense" else 0.9,
        size=ModelSize(pieces=10, float32_bytes=1_000_000, file_bytes=None),
        seconds=1.0,
        date="2026-01-02",
        environment={},
        scores=scores,
        gap=gap,
        right={name: packed(own) for name, own in right.items()},
    )


def test_claim_e_is_the_mean_over_seeds_and_the_change_is_paired() -> None:
    results = [result("dense", 0), result("dense", 1)]
    # Gaps of 0.2 and 0.4 without a teacher; of 0.1 with one, which has one seed: it is compared with the first.
    results += [result("none-90", 0, de=4, en=2, fr=8), result("none-90", 1, de=8, en=2, fr=12)]
    results += [result("align-cosine-90", 0, de=3, en=2, fr=5)]
    _, accuracies, claim = markdown(results).strip().split("\n\n")
    assert "| average, zero-shot | 1.000 [1.000, 1.000] |" in accuracies
    rows = [[cell.split(" ")[0] for cell in line.strip("| ").split(" | ")] for line in claim.splitlines()[2:]]
    assert rows[0] == ["none-90", "90%", "2", "+0.100", "+0.400", "+0.300"]
    assert rows[1] == ["align-cosine-90", "90%", "1", "+0.100", "+0.200", "+0.100", "-0.100"]


def test_results_of_different_setups_are_not_compared() -> None:
    other = result("none-90", 0).model_copy(update={"setup": SETUP.model_copy(update={"model": "other"})})
    with pytest.raises(typer.BadParameter, match="none-90 and dense have different setups"):
        markdown([result("dense", 0), other])
    with pytest.raises(typer.BadParameter, match="no result of the arm dense"):
        markdown([other])
