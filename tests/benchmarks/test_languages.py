"""benchmarks/studies/languages.py from its command line, on two languages and a tiny model."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import language_arms
import languages
from language_arms import study_arms
from language_result import ArmResult, packed, unpacked
from sdp.recipe.benchmark_tasks import TASKS
from sdp.recipe.load import load_recipe
from support.toy import save_tiny_model, save_xlmr_tokenizer, toy_rows

ROWS = {"train": 48, "dev": 24, "test": 16}
QUICK = (
    *("data.max_length=32", "finetune.epochs=1", "prune.mask_updates=2", "runtime.preflight=false"),
    *("evaluate.resamples=100", 'finetune.precision="fp32"', 'prune.precision="fp32"', "bench.sequence_lengths=[32]"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """PAWS-X in English and German, row i the same item, a number in each row of its own."""
    folder = tmp_path / "data" / "pawsx"
    folder.mkdir(parents=True)
    for seed, (split, count) in enumerate(ROWS.items()):
        for language in ("en",) if split == "train" else ("en", "de"):
            lines = ["sentence1\tsentence2\tlabel"]
            for number, (text, label) in enumerate(toy_rows(count, seed)):
                name = f"{language} {split} {number}"
                lines.append(f"{text} {name}\t{name} {text}\t{int(label == 'pos')}")
            content = "".join(f"{line}\n" for line in lines)
            (folder / f"{split}.{language}.tsv.gz").write_bytes(gzip.compress(content.encode()))
    return tmp_path / "data"


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny XLM-R with its own kind of tokenizer."""
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "multilingual", "xlmr", more_rows=2)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    save_xlmr_tokenizer(folder)
    return folder


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(languages, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(language_arms, "PIECES", 50)
    return tmp_path / "results" / "pawsx"


def run(data: Path, model: Path, *more: str) -> Result:
    fixed = [word for setting in QUICK for word in ("--set", setting)]
    command = ["run", "--data", str(data), "--model", str(model), "--runs", str(data.parent / "runs")]
    command += ["--task", "pawsx", "--language", "en", "--language", "de", "--rows", "40", "--steps", "3", *fixed]
    return CliRunner().invoke(languages.app, [*command, *more])


@pytest.mark.slow
def test_every_arm_is_made_scored_and_put_into_the_tables(data: Path, multilingual: Path, results: Path) -> None:
    done = run(data, multilingual)
    assert done.exit_code == 0, done.output
    made = {path.stem.removesuffix("-seed0"): ArmResult.read(path) for path in results.glob("*.json")}
    assert set(made) == {arm.name for arm in study_arms(0.9)}
    found = {name: result for name, result in made.items() if result is not None}
    assert {result.setup.test_items for result in found.values()} == {16}
    assert found["dense"].gap is None
    assert found["dense"].sparsity == 0
    assert found["pruned-50"].sparsity == pytest.approx(0.5, abs=0.01)
    assert found["unlabeled-90"].sparsity == pytest.approx(0.9, abs=0.01)
    assert found["vocabulary-90"].size.float32_bytes < found["pruned-90"].size.float32_bytes
    exported = {name for name, result in found.items() if result.size.file_bytes}
    assert exported == {"pruned-90", "vocabulary-90"}
    # No name of a folder is committed.
    assert not any(str(data.parent) in path.read_text() for path in results.glob("*.json"))
    for result in found.values():
        for language, own in result.unpacked().items():
            assert result.scores[language].accuracy.value == pytest.approx(own.mean())
    table = CliRunner().invoke(languages.app, ["table"])
    assert table.exit_code == 0, table.output
    head, dense, claim, size, few = table.stdout.strip().split("\n\n")
    assert head == "pawsx, multilingual: accuracy on 16 test items in 2 languages"
    assert dense.splitlines()[0].startswith("| language | dense | pruned-50 | pruned-70 | pruned-80 | pruned-90 | unl")
    assert [line.split(" | ")[0] for line in dense.splitlines()[2:]] == [
        *("| de", "| en", "| average, all", "| average, zero-shot")
    ]
    arms = [line.split(" | ")[0][2:] for line in claim.splitlines()[2:]]
    assert arms[:5] == ["none-90", "align-cosine-90", "align-frobenius-90", "cross-correlation-90", "pruned-50"]
    gap = found["none-90"].gap
    assert gap is not None
    assert f"| {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] |  |" in claim.splitlines()[2]
    assert [line.split(" | ")[1] for line in size.splitlines()[2:]] == [
        str(found[name].size.pieces) for name in ("dense", "vocabulary-dense", "pruned-90", "vocabulary-90")
    ]
    assert found["vocabulary-dense"].size.pieces == 50 < found["dense"].size.pieces
    assert few.splitlines()[0] == "| language | dense | vocabulary-dense | pruned-90 | vocabulary-90 |"


def test_a_finished_arm_is_not_made_again_and_other_settings_are(data: Path, multilingual: Path, results: Path) -> None:
    assert run(data, multilingual, "--arm", "pruned-50").exit_code == 0
    assert {path.name for path in results.iterdir()} == {"dense-seed0.json", "pruned-50-seed0.json"}
    before = {path: path.read_bytes() for path in results.iterdir()}
    again = run(data, multilingual, "--arm", "pruned-50")
    assert "$ sdp" not in again.output
    assert {path: path.read_bytes() for path in results.iterdir()} == before
    (results / "dense-seed0.json").write_text("{")
    other = run(data, multilingual, "--arm", "dense", "--test-rows", "8")
    assert "not used, and made again by the next run: dense-seed0.json" in other.output
    assert other.exit_code == 0, other.output
    table = CliRunner().invoke(languages.app, ["table"])
    assert table.exit_code == 2
    assert "different setups" in table.output


@pytest.mark.parametrize("task", languages.LANGUAGES)
def test_the_arms_are_recipes_that_load(task: str, tmp_path: Path) -> None:
    assert set(TASKS[task].languages) <= set(languages.LANGUAGES[task])
    common = (f'task.name="{task}"', "prune.steps=10")
    setup = languages.Setup(task=task, model="m", languages=languages.LANGUAGES[task], test_items=1, settings=common)
    study = languages.Study(setup, tmp_path / "source", tmp_path / "made", tmp_path / "runs", "m")
    recipes = {arm.name: load_recipe(languages.RECIPE, study.overrides(arm, 3)) for arm in study_arms(0.9)}
    plain, labelled = recipes["pruned-90"], recipes["none-90"]
    assert plain.prune.sparsity == 0.9
    assert plain.seed == 3
    assert plain.prune.labels is not True
    assert plain.prune.criterion == "momentum"
    assert labelled.prune.labels is True
    # Claim E compares losses: nothing else differs.
    without_losses = {"exclude": {"prune": {"losses"}}}
    same = [
        recipes[name].model_dump(**without_losses) for name in recipes if name.split("-9")[0] in language_arms.LOSSES
    ]
    assert len(same) == 4
    assert all(own == same[0] for own in same)
    assert recipes["unlabeled-90"].data.unlabeled == tuple(
        str(tmp_path / "made" / f"unlabeled.{name}.tsv.gz") for name in setup.languages if name != "en"
    )


def test_bits_come_back() -> None:
    right = np.random.default_rng(0).random(101) < 0.5
    assert unpacked(packed(right), 101).tolist() == right.tolist()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--arm", "pruned-55"), "pruned-55"),
        (("--task", "mnli"), "mnli"),
        (("--language", "sw"), "sw"),
    ],
)
def test_names_that_it_has_not_are_reported(
    options: tuple[str, ...], word: str, data: Path, multilingual: Path
) -> None:
    done = run(data, multilingual, *options)
    assert done.exit_code == 2
    assert word in done.output
    assert not (data.parent / "runs").exists()
