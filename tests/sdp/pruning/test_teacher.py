"""The teacher's words: the same from the cache and live, stored once for runs with other losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdp.data.batches import Collator, TokenizedSplit, tokenize
from sdp.data.rows import Split
from sdp.errors import ModelError
from sdp.losses.objective import Objective
from sdp.models.load import load_pretrained
from sdp.models.source import ModelFolder
from sdp.models.tokenizer import load_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pruning.forward import Reader
from sdp.pruning.teacher import CachedTeacher, LiveTeacher
from sdp.pruning.teacher_cache import TeacherCache, cached_teacher, rows_identity
from sdp.recipe.pruning import PruneSection
from support.toy import save_tiny_model, toy_rows

CPU = torch.device("cpu")
QUIET = Reporter(quiet=True)
ROWS = (5, 40, 7, 22)
POOLED = {"name": "cosine", "representation": "pooled"}
LISTS: list[list[dict[str, Any]]] = [
    [{"name": "kld"}],
    [{"name": "cross-correlation", "layers": "all"}],
    [POOLED, {"name": "cross-correlation", "representation": "first", "layers": (0, -1)}, {"name": "kld"}],
    [{"name": "cosine", "layers": (1,)}, {"name": "align-cosine"}, {"name": "align-frobenius"}],
    [{"name": "align-cosine"}],
    [{"name": "squared-error", "layers": (1, -1)}, {"name": "cross-correlation", "representation": "tokens"}],
    [{"name": "hidden", "layers": "all"}, {"name": "kld"}, POOLED],
]
# Half precision rounds to 11 bits: what is stored of every token differs by that much.
CLOSE = {"tokens": 2e-3, "rows": 1e-5}


def objective(losses: list[dict[str, Any]]) -> Objective:
    return Objective("classification", PruneSection.model_validate({"losses": losses}).losses, 2)


@pytest.fixture(scope="module")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("student"), seed=5)


@pytest.fixture
def parts(toy_model: Path, student_folder: Path) -> dict[str, Any]:
    tokenizer = load_tokenizer(toy_model)
    rows = toy_rows(70, seed=1)
    split = Split("train", tuple((t,) for t, _ in rows), np.array([int(k == "pos") for _, k in rows]), ("",) * 70)

    def load(folder: Path) -> Any:
        return load_pretrained(ModelFolder("toy", folder), "classification", ("neg", "pos"), CPU)

    return {
        "teacher": load(toy_model),
        "student": load(student_folder).eval(),
        "split": TokenizedSplit(tokenize(split.texts, tokenizer, 32), split.labels),
        "collator": Collator(tokenizer),
    }


def stored(parts: dict[str, Any], losses: list[dict[str, Any]], cache: TeacherCache) -> CachedTeacher:
    return cached_teacher(parts["teacher"], parts["split"], parts["collator"], objective(losses), cache, CPU, QUIET)


def loss(parts: dict[str, Any], losses: list[dict[str, Any]], teacher: CachedTeacher | LiveTeacher) -> Tensor:
    batch = parts["collator"]([parts["split"][row] for row in ROWS])
    index, labels = batch.pop("index"), batch.pop("labels")
    listed = objective(losses)
    student = Reader(parts["student"], listed)(parts["student"], batch)
    return listed(student, labels, batch["attention_mask"], teacher.outputs(batch, index))[0]


def files(cache: TeacherCache) -> dict[str, int]:
    """What is stored -> when it was written."""
    return {path.stem.split("-", 3)[3]: path.stat().st_mtime_ns for path in cache.folder.glob("*")}


@pytest.mark.parametrize("losses", LISTS, ids=[", ".join(loss["name"] for loss in losses) for losses in LISTS])
def test_stored_and_live_give_the_same_loss(
    losses: list[dict[str, Any]], parts: dict[str, Any], tmp_path: Path
) -> None:
    cached = loss(parts, losses, stored(parts, losses, TeacherCache(tmp_path / "cache", "t")))
    live = loss(parts, losses, LiveTeacher(parts["teacher"], objective(losses)))
    close = CLOSE["tokens" if objective(losses).token_outputs else "rows"]
    assert float(cached.detach()) == pytest.approx(float(live.detach()), rel=close)
    live.backward()
    assert all(p.grad is None for p in parts["teacher"].parameters())


def test_a_live_teacher_computes_in_bf16_where_the_student_does(parts: dict[str, Any]) -> None:
    losses = [{"name": "hidden"}, {"name": "kld"}]
    seen: set[torch.dtype] = set()
    layer = parts["teacher"].get_submodule("bert.encoder.layer.0.intermediate.dense")
    layer.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    full = loss(parts, losses, LiveTeacher(parts["teacher"], objective(losses)))
    assert seen == {torch.float32}
    half = loss(parts, losses, LiveTeacher(parts["teacher"], objective(losses), bf16=True))
    assert seen == {torch.float32, torch.bfloat16}
    assert half.dtype == torch.float32
    # Eight bits of mantissa are a difference of less than a percent, and some difference.
    assert 0 < abs(float(half.detach()) - float(full.detach())) < 0.02 * float(full.detach())


def test_runs_with_other_losses_share_what_is_stored(parts: dict[str, Any], tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path / "cache", "t")
    stored(parts, LISTS[0], cache)
    first = files(cache)
    assert first.keys() == {"logits"}
    stored(parts, LISTS[1], cache)
    assert files(cache).keys() == {"logits", "mean-1", "mean-2"}
    stored(parts, LISTS[2], cache)
    assert files(cache).keys() == {"logits", "mean-1", "mean-2", "pooled", "first-0", "first-2"}
    assert files(cache)["logits"] == first["logits"], "what is there is not written again"
    # All of it is there: a teacher that cannot run is enough, and says the same.
    before = [loss(parts, losses, stored(parts, losses, cache)) for losses in LISTS[:3]]
    parts["teacher"].forward = None
    after = [loss(parts, losses, stored(parts, losses, cache)) for losses in LISTS[:3]]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_is_stored_and_damaged_is_asked_again(parts: dict[str, Any], tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path / "cache", "t")
    before = stored(parts, LISTS[0], cache).logits
    (file,) = cache.folder.iterdir()
    content = file.read_bytes()
    # A bit that the disk lost leaves a number like any other.
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = stored(parts, LISTS[0], cache).logits
    assert before is not None
    assert again is not None
    assert torch.equal(before, again)
    assert file.read_bytes() == content


def test_a_teacher_of_no_numbers_is_given_as_the_reason(parts: dict[str, Any], tmp_path: Path) -> None:
    with torch.no_grad():
        parts["teacher"].classifier.bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="logits: the teacher's outputs are not finite numbers"):
        stored(parts, LISTS[0], TeacherCache(tmp_path / "cache", "t"))


def test_weights_alone_need_no_pass_and_no_file(parts: dict[str, Any], tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path / "cache", "t")
    parts["teacher"].forward = None
    assert torch.isfinite(loss(parts, LISTS[4], stored(parts, LISTS[4], cache)))
    assert not cache.folder.exists()


def test_other_rows_another_order_or_another_teacher_are_other_files(parts: dict[str, Any], tmp_path: Path) -> None:
    split = parts["split"]
    cut = TokenizedSplit(split.rows[:-1], split.labels[:-1])
    turned = TokenizedSplit(split.rows[::-1], split.labels[::-1])
    again = TokenizedSplit([dict(row) for row in split.rows], split.labels)
    assert len({rows_identity(rows) for rows in (split, cut, turned)}) == 3
    assert rows_identity(again) == rows_identity(split)
    for rows, teacher in ((split, "t"), (cut, "t"), (turned, "t"), (split, "u")):
        stored({**parts, "split": rows}, LISTS[0], TeacherCache(tmp_path / "cache", teacher))
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_rows_are_hashed_with_their_borders() -> None:
    def identity(*rows: list[int]) -> str:
        return rows_identity(TokenizedSplit([{"input_ids": row} for row in rows], np.zeros(len(rows), np.int64)))

    assert len({identity([1, 2], [3]), identity([1], [2, 3]), identity([1, 2, 3]), identity([1, 2, 3], [])}) == 4


def test_dropout_is_off_and_the_students_is_not_touched(parts: dict[str, Any]) -> None:
    listed = objective(LISTS[2])
    teacher = LiveTeacher(parts["teacher"].train(), listed)
    parts["student"].train()
    batch = parts["collator"]([parts["split"][row] for row in ROWS])
    index = batch.pop("index")
    del batch["labels"]
    first, second = teacher.outputs(batch, index), teacher.outputs(batch, index)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.pooled, second.pooled)
    assert not first.logits.requires_grad
    assert parts["student"].training
