"""benchmarks/studies/fidelity.py: how near two networks are, against numpy; the JSON and table of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import fidelity
from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import saved_tokenizer
from support.toy import toy_rows

CPU = torch.device("cpu")


def test_nearness_is_that_of_numpy(finished: Path) -> None:
    (run,) = (finished / "runs").iterdir()
    tokenizer = saved_tokenizer(run / "1-finetune")
    texts = [(text,) for text, _ in toy_rows(70, seed=3)]
    rows, collator = TokenizedSplit(tokenize(texts, tokenizer, 16), np.zeros(70, dtype=np.int64)), Collator(tokenizer)
    dense, pruned = (load_finetuned(run / stage, CPU).eval() for stage in ("1-finetune", "2-prune"))
    hidden, logits = {}, {}
    for name, model in (("dense", dense), ("pruned", pruned)):
        # One row at a time, without padding.
        with torch.inference_mode():
            read = [
                model(input_ids=torch.tensor([list(rows[row]["input_ids"])]), output_hidden_states=True)
                for row in range(70)
            ]
        hidden[name] = np.concatenate([one.hidden_states[-1][0].numpy() for one in read])
        logits[name] = np.concatenate([one.logits.numpy() for one in read]).astype(np.float64)
    p, q = (np.exp(own) / np.exp(own).sum(1, keepdims=True) for own in (logits["dense"], logits["pruned"]))
    found = fidelity.nearness(dense, pruned, rows, collator)
    expected = ((hidden["pruned"] - hidden["dense"]) ** 2).sum() / (hidden["dense"] ** 2).sum()
    assert found["hidden"] == pytest.approx(expected, rel=1e-4)
    assert found["kl"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-3, abs=1e-6)
    assert found["agreement"] == pytest.approx((p.argmax(1) == q.argmax(1)).mean())
    same = fidelity.nearness(dense, dense, rows, collator)
    assert same == {"hidden": 0.0, "kl": pytest.approx(0.0, abs=1e-7), "agreement": 1.0}


def test_a_pruned_run_is_measured_and_in_the_table(finished: Path, tmp_path: Path) -> None:
    (run,) = (finished / "runs").iterdir()
    done = CliRunner().invoke(fidelity.app, ["measure", "toy", str(run), "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    stored = json.loads((tmp_path / "toy.json").read_text("utf-8"))
    assert stored["sparsity"] > 0
    assert stored["hidden"] > 0
    line = CliRunner().invoke(fidelity.app, ["table", "--results", str(tmp_path)]).output.splitlines()[-1]
    assert line.startswith("| toy |")
    assert f"| {stored['kl']:.3f} |" in line
