"""benchmarks/compatibility/optimum_load.py: what is committed was measured with the versions that it pins."""

from __future__ import annotations

import json

import optimum_load


def test_the_committed_result_is_of_the_pinned_versions_and_agrees() -> None:
    content = json.loads(optimum_load.RESULTS.read_text(encoding="utf-8"))
    assert content["pinned"] == list(optimum_load.PINNED)
    folders = content["folders"]
    assert {bool(folder["operator_library"]) for folder in folders} == {True, False}
    assert {folder["precision"] for folder in folders} == {"fp32", "int8"}
    assert {folder["class"] for folder in folders} >= {"SentenceTransformer", "ORTModelForQuestionAnswering"}
    for folder in folders:
        assert folder["max_error"] <= folder["tolerance"]
        assert folder["texts_with_stored_tokens"] == folder["texts"] > 0
        assert folder["readme_example"] == "runs"
        for pin in optimum_load.PINNED:
            name, _, version = pin.partition("==")
            assert folder["versions"][name.partition("[")[0]].partition("+")[0] == version
