"""benchmarks/studies/retrieval.py: ranks and metrics against scikit-learn, and the texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

import retrieval
from retrieval import docstring_pairs, ndcg, ranks, recall


def test_metrics_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    queries = generator.normal(size=(40, 8)).astype(np.float32)
    passages = (queries + generator.normal(scale=1.5, size=queries.shape)).astype(np.float32)
    found = ranks(queries, passages)
    scores = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        passages / np.linalg.norm(passages, axis=1, keepdims=True)
    ).T
    assert ndcg(found).mean() == pytest.approx(ndcg_score(np.eye(40), scores, k=10))
    right = [row in np.argsort(-scores[row])[:10] for row in range(40)]
    assert recall(found).tolist() == [float(one) for one in right]
    assert 0 < recall(found).mean() < 1


def test_equal_vectors_are_no_success() -> None:
    same = np.ones((20, 4), np.float32)
    assert ranks(same, same).tolist() == [20] * 20
    assert recall(ranks(same, same)).sum() == 0


def test_texts_are_the_parts_of_docstrings() -> None:
    every = docstring_pairs(("typer", "rich"))
    assert every == docstring_pairs(("typer", "rich"))
    pairs = every[:30]
    assert len({query for query, _ in pairs}) == len({passage for _, passage in pairs}) == 30
    assert all(4 <= len(query.split()) <= 40 and 15 <= len(passage.split()) <= 80 for query, passage in pairs)


def test_texts_to_learn_from_are_none_that_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "PACKAGES", ("typer", "rich"))
    retrieval.texts(tmp_path / "texts.txt", rows=30)
    lines = (tmp_path / "texts.txt").read_text(encoding="utf-8").splitlines()
    every = docstring_pairs(("typer", "rich"))
    assert lines == [text for pair in every[30:] for text in pair]
    assert not {*lines} & {text for pair in every[:30] for text in pair}
