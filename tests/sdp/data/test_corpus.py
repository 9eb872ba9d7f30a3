"""The texts that a vocabulary is trimmed to."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sdp.data.corpus import Corpus, corpus_identity, corpus_rows, count_texts, few_texts_lines, read_corpus
from sdp.data.load import load_task_data
from sdp.errors import DataError
from sdp.recipe import Recipe, load_recipe
from support.toy import toy_rows, write_project, write_tsv


def recipe(folder: Path, vocabulary: dict[str, Any], data: dict[str, Any] | None = None, **task: Any) -> Recipe:
    files = {split: str(folder / f"{split}.tsv") for split in ("train", "dev", "test")}
    own = {**files, "text": ["sentence"], "label": "label", **(data or {})}
    names = vocabulary.get("corpus")
    section = {"size": 100, **vocabulary, **({"corpus": [str(folder / name) for name in names]} if names else {})}
    task = {"type": "classification", **task}
    content = {"name": "x", "model": {"name": "m"}, "task": task, "data": own, "vocabulary": section}
    return Recipe.model_validate_json(json.dumps(content))


def read(made: Recipe) -> Corpus:
    assert made.vocabulary is not None
    data = None if made.vocabulary.corpus else load_task_data(made)
    return read_corpus(made, made.vocabulary, (data.train, data.dev) if data else ())


def everything(corpus: Corpus) -> dict[str, list[str]]:
    return {part: sorted([*corpus.counted[part], *corpus.held_out[part]]) for part in corpus.counted}


LINES = [f"text {index}" for index in range(40)]


def test_files_of_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join([*LINES[:10], "", "  "]) + "\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\r\n".join(LINES[10:20]).encode()))
    write_tsv(tmp_path / "c.tsv", [(line, "x") for line in LINES[20:30]])
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"sentence": line}) + "\n" for line in LINES[30:]))
    made = recipe(tmp_path, {"corpus": ["*.txt*", "c.tsv", "d.jsonl"]})
    corpus = read(made)
    assert everything(corpus) == {"": sorted(LINES)}
    assert 0 < len(corpus.held_out[""]) < 12
    assert list(corpus_identity(made)) == ["a.txt", "b.txt.gz", "c.tsv", "d.jsonl"]
    # What is held out does not depend on order or neighbours, and equal texts are on one side.
    again = recipe(tmp_path, {"corpus": ["d.jsonl", "c.tsv", "*.txt*", "a.txt"]})
    assert set(read(again).held_out[""]) == set(corpus.held_out[""])
    assert not set(read(again).held_out[""]) & set(read(again).counted[""])
    more = read(recipe(tmp_path, {"corpus": ["*.txt*", "c.tsv", "d.jsonl"], "held_out": 0.5}))
    assert set(corpus.held_out[""]) < set(more.held_out[""])


def test_the_folder_of_the_recipe_is_no_pattern(tmp_path: Path, toy_model: Path) -> None:
    folder = tmp_path / "project [v2] *"
    path = write_project(folder, toy_model, '\n[vocabulary]\nsize = 50\ncorpus = ["texts/*.txt"]\n')
    (folder / "texts").mkdir()
    (folder / "texts/a.txt").write_text("\n".join(LINES))
    assert everything(read(load_recipe(path))) == {"": sorted(LINES)}


def test_several_columns_and_files_of_one_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        rows = "".join(f"{folder} {index},other {folder} {index},1\n" for index in range(20))
        (tmp_path / folder / "t.csv").write_text(f"first,second,label\n{rows}")
    made = recipe(tmp_path, {"corpus": ["**/t.csv"], "text": ["second", "first"]})
    assert len(everything(read(made))[""]) == 80
    assert len(corpus_identity(made)) == 2
    with pytest.raises(DataError, match='no column "sentence"'):
        read(recipe(tmp_path, {"corpus": ["one/t.csv"]}))
    (tmp_path / "n.jsonl").write_text('{"sentence": null}\n')
    with pytest.raises(DataError, match="which is no text"):
        read(recipe(tmp_path, {"corpus": ["n.jsonl"]}))


def test_files_by_language(tmp_path: Path) -> None:
    for language in ("en", "de", "el"):
        (tmp_path / language).mkdir()
        (tmp_path / language / "t.txt").write_text("\n".join(f"{language} {line}" for line in LINES))
    (tmp_path / "all.txt").write_text("\n".join(LINES))
    corpus = ["{language}/*.txt", "all.txt"]
    named = recipe(tmp_path, {"corpus": corpus, "languages": ["de", "el"]})
    assert everything(read(named)).keys() == {"de", "el", ""}
    assert list(corpus_identity(named)) == ["de: t.txt", "el: t.txt", "all.txt"]
    assert everything(read(named))["el"] == sorted(f"el {line}" for line in LINES)
    task = {"train_languages": ["en"], "eval_languages": ["en", "de"]}
    assert everything(read(recipe(tmp_path, {"corpus": corpus}, **task))).keys() == {"en", "de", ""}
    with pytest.raises(DataError, match=r'no name holds "\{language\}"'):
        read(recipe(tmp_path, {"corpus": ["all.txt"], "languages": ["de"]}))
    with pytest.raises(DataError, match="no such file of text") as caught:
        read(recipe(tmp_path, {"corpus": corpus, "languages": ["de", "fr"]}))
    assert str(tmp_path / "fr/*.txt") in str(caught.value.where)


def test_the_tasks_own_rows_and_never_those_of_test(tmp_path: Path) -> None:
    rows = {name: toy_rows(40, seed) for seed, name in enumerate(("train", "dev"))}
    for name, found in {**rows, "test": [("secret", "pos"), ("secret", "neg")]}.items():
        write_tsv(tmp_path / f"{name}.tsv", found)
    made = recipe(tmp_path, {})
    assert corpus_identity(made) == {}
    assert everything(read(made)) == {"": sorted(text for found in rows.values() for text, _ in found)}
    with pytest.raises(DataError, match=r'no name holds "\{language\}"'):
        read(recipe(tmp_path, {"languages": ["de"]}))


def test_the_tasks_own_rows_by_language(tmp_path: Path) -> None:
    for name in ("train.en", "dev.en", "dev.de"):
        write_tsv(tmp_path / f"{name}.tsv", [(f"{name} {text}", label) for text, label in toy_rows(40, 0)])
    names = {split: str(tmp_path / f"{split}.{{language}}.tsv") for split in ("train", "dev")}
    task = {"train_languages": ["en"], "eval_languages": ["en", "de"]}
    found = everything(read(recipe(tmp_path, {}, {**names, "test": None}, **task)))
    assert {language: len(texts) for language, texts in found.items()} == {"en": 80, "de": 40}
    only = recipe(tmp_path, {"languages": ["de"]}, {**names, "test": None}, **task)
    assert everything(read(only)) == {"de": found["de"]}
    with pytest.raises(DataError, match="have none in fr, only in en, de"):
        read(recipe(tmp_path, {"languages": ["de", "fr"]}, {**names, "test": None}, **task))


def test_a_taggers_words_are_one_text(tmp_path: Path) -> None:
    rows = [(f"word{index} and word{index + 1}", "O O B-X") for index in range(40)]
    for name in ("train", "dev"):
        write_tsv(tmp_path / f"{name}.tsv", rows)
    found = everything(read(recipe(tmp_path, {}, {"test": None}, type="tagging", metric="accuracy")))
    assert found == {"": sorted(text for text, _ in [*rows, *rows])}


def test_too_few(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one line\n")
    with pytest.raises(DataError, match="the corpus has 1 texts, too few to count some and hold 10% out"):
        read(recipe(tmp_path, {"corpus": ["a.txt"]}))
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="0 texts"):
        read(recipe(tmp_path, {"corpus": ["a.txt"]}))
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match="not UTF-8"):
        read(recipe(tmp_path, {"corpus": ["a.txt"]}))


def by_language(folder: Path, languages: tuple[str, ...], **data: Any) -> Recipe:
    names = {split: str(folder / f"{split}.{{language}}.tsv") for split in ("train", "dev", "test")}
    task = {"train_languages": ["en"], "eval_languages": list(languages)}
    return recipe(folder, {}, {**names, **data}, **task)


def test_train_files_of_evaluated_languages_count_too(tmp_path: Path) -> None:
    for language in ("en", "de", "fr"):
        for split, count in (("train", 30), ("dev", 10), ("test", 10)):
            if (language, split) != ("fr", "train"):
                rows = [(f"{split} {language} {index}", ("pos", "neg")[index % 2]) for index in range(count)]
                write_tsv(tmp_path / f"{split}.{language}.tsv", rows)
    made = by_language(tmp_path, ("en", "de", "fr"))
    found = everything(read(made))
    assert {language: len(texts) for language, texts in found.items()} == {"en": 40, "de": 40, "fr": 10}
    assert not any(text.startswith("test") for texts in found.values() for text in texts)
    # Training reads English alone, and the German file is an input of the vocabulary.
    assert set(load_task_data(made).train.parts) == {"en"}
    assert list(corpus_identity(made)) == ["de: train.de.tsv"]
    assert made.vocabulary is not None
    rows = load_task_data(made)
    assert count_texts(made, made.vocabulary, (rows.train, rows.dev)) == {"en": 40, "de": 40, "fr": 10}
    write_tsv(tmp_path / "train.de.tsv", [("only", "pos")])
    drawn = by_language(tmp_path, ("en", "de"), train_rows=5)
    data = load_task_data(drawn)
    assert len(data.train) == 5
    assert count_texts(drawn, made.vocabulary, corpus_rows(drawn, data)) == {"en": 40, "de": 11}


def test_a_data_set_may_lack_the_training_split_of_a_language(tmp_path: Path) -> None:
    for language, splits in (("en", ("train", "validation")), ("de", ("train", "validation")), ("fr", ("validation",))):
        (tmp_path / "hub" / language).mkdir(parents=True)
        for split in splits:
            rows = "".join(f"{split} {language} {n},{('pos', 'neg')[n % 2]}\n" for n in range(10))
            (tmp_path / "hub" / language / f"{split}.csv").write_text(f"sentence,label\n{rows}")
    configs = "".join(
        f"- config_name: {language}\n  data_files:\n"
        + "".join(f"  - split: {path.stem}\n    path: {language}/{path.name}\n" for path in sorted(folder.iterdir()))
        for language in ("en", "de", "fr")
        for folder in (tmp_path / "hub" / language,)
    )
    (tmp_path / "hub/README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    names = {
        "dataset": str(tmp_path / "hub"),
        "config": "{language}",
        "train": "train",
        "dev": "validation",
        "test": None,
    }
    found = everything(read(by_language(tmp_path, ("en", "de", "fr"), **names)))
    assert {language: len(texts) for language, texts in found.items()} == {"en": 20, "de": 20, "fr": 10}


def test_languages_with_few_texts() -> None:
    assert few_texts_lines({"en": 5000, "de": 1000}) == []
    (line,) = few_texts_lines({"en": 5000, "de": 40})
    assert line.startswith("de has 40 texts, fewer than 1,000")


def test_millions_of_rows_are_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdp.data.corpus.MOST_ROW_TEXTS", 25)
    for name in ("train", "dev"):
        write_tsv(tmp_path / f"{name}.tsv", toy_rows(20, seed=1))
    assert len(everything(read(recipe(tmp_path, {}, {"test": None})))[""]) == 25
