"""benchmarks/hostile/hostile.py in small: some inputs of every kind, and that the judge can tell a wrong answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostile_folders import Project
from hostile_judge import QuietError, check_exit, judge, strict_json
from hostile_worker import KINDS, kind_of, run_case
from sdp.errors import UsageError

SEED = 7
INPUTS = 60


@pytest.fixture(scope="module")
def project(finished: Path) -> Project:
    return Project(finished)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_an_answer_or_an_error(
    kind: str, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [number for number in range(INPUTS) if kind_of(number) == kind]
    assert numbers
    findings = []
    for number in numbers:
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        outcome = run_case(kind, SEED, number, project, folder)
        if outcome.status == "finding":
            findings.append((number, outcome.detail))
    assert findings == []


def test_the_judge_finds_what_is_wrong() -> None:
    def refuse() -> None:
        raise UsageError("no")

    def crash() -> None:
        raise KeyError("x")

    assert judge(refuse).status == "refused"
    assert judge(lambda: None).status == "accepted"
    assert judge(crash).status == "finding"
    assert judge(lambda: strict_json('{"a": NaN}')).status == "finding"
    for code, out, err in ((1, "", "Traceback"), (2, "", ""), (139, "", ""), (2, "", "error: a\nerror: b\n")):
        with pytest.raises(QuietError):
            check_exit(code, out, err)


def test_an_input_is_the_same_every_time(project: Project, tmp_path: Path) -> None:
    number = next(number for number in range(60) if kind_of(number) == "data")
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        run_case("data", SEED, number, project, folder)
    first, second = (next(folder.iterdir()) for folder in folders)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
