"""Libraries that made a stage's result and are not installed here."""

from __future__ import annotations

import pytest

from sdp.pipeline import absent_libraries
from sdp.pipeline.absent_libraries import require_training_libraries, with_absent_libraries
from sdp.pipeline.stages import find_stage

PRUNE = find_stage("prune")


def test_the_version_of_a_library_that_is_not_here_is_that_of_the_record() -> None:
    before = {"libraries": {"torch": "2.10", "tokenizers": "0.21", "scipy": "1.14"}}
    assert with_absent_libraries({"tokenizers": "0.22"}, before, PRUNE) == {"torch": "2.10", "tokenizers": "0.22"}
    assert with_absent_libraries({"torch": "2.11"}, before, PRUNE) == {"torch": "2.11", "tokenizers": "0.21"}


@pytest.mark.parametrize("before", [{}, [], None, {"libraries": None}, {"libraries": ["torch"]}])
def test_a_damaged_record_has_no_libraries(before: object) -> None:
    assert with_absent_libraries({"torch": "2.11"}, before, PRUNE) == {"torch": "2.11"}


def test_a_stage_that_trains_needs_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    require_training_libraries(PRUNE)
    monkeypatch.setattr(absent_libraries, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ModuleNotFoundError, match="torch") as missing:
        require_training_libraries(PRUNE)
    assert missing.value.name == "torch"
    require_training_libraries(find_stage("gate"))
