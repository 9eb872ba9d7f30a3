"""benchmarks/peers/xlmr_vocabulary.py at a tiny size, on generated files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import xlmr_vocabulary
from support.toy import toy_rows

BEFORE, AFTER = 400, 120


@pytest.mark.slow  # trimming has its own tests; this is the program around it
def test_it_measures_files_that_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each variant takes two exports.
    monkeypatch.setattr(xlmr_vocabulary, "VARIANTS", xlmr_vocabulary.VARIANTS[:1])
    for split, seed in (("dev", 1), ("test", 2)):
        for language in ("en", "xx"):
            pairs = zip(toy_rows(60, seed), toy_rows(60, 9), strict=True)
            rows = [f"{one}\t{other}\tx\n" for (one, _), (other, _) in pairs]
            text = "sentence1\tsentence2\tlabel\n" + "".join(rows)
            (tmp_path / f"{split}.{language}.tsv.gz").write_bytes(gzip.compress(text.encode()))
    output = tmp_path / "results.json"
    sizes = ["--before", str(BEFORE), "--after", str(AFTER), "--size", "tiny"]
    done = CliRunner().invoke(xlmr_vocabulary.app, ["run", "--data", str(tmp_path), *sizes, "--output", str(output)])
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    content = json.loads(output.read_text())
    assert content["tokenizer"]["filled_up_to"] == content["vocabulary"]["pieces_before"] == BEFORE
    assert content["tokenizer"]["trained_pieces"] < BEFORE
    after = content["vocabulary"]["pieces_after"]
    assert after <= AFTER
    columns = content["shape"]["hidden_size"]
    files = content["files"]
    assert list(files) == [
        f"dense fp32, {BEFORE} pieces",
        f"90% unstructured, fp32, {BEFORE} pieces",
        f"dense fp32, {after} pieces",
        f"90% unstructured, fp32, {after} pieces",
    ]
    for name, found in files.items():
        pieces = BEFORE if str(BEFORE) in name else after
        assert found["table_bytes"] == pieces * columns * 4
        assert found["table_bytes"] + found["rest_bytes"] == found["file_bytes"]
    assert all(check["texts"] > 0 and check["max_relative_difference"] < 1e-5 for check in content["checks"])
    shown = CliRunner().invoke(xlmr_vocabulary.app, ["table", "--output", str(output)]).stdout
    assert len(shown.splitlines()) == 2 + len(files)
