"""Reading recipes: what is merged, what is refused, and which file and key an error names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import RecipeError
from sdp.recipe import Recipe, load_recipe

MINIMAL = """
name = "x"
model.name = "org/model"
task.type = "classification"

[data]
train = "train.tsv"
dev = "dev.tsv"
text = ["sentence"]
label = "label"
"""


def write(folder: Path, text: str = MINIMAL, name: str = "r.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path, *overrides: str) -> list[str]:
    """The lines of the error that loading must raise: a headline, then a line for each problem."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return [line.strip() for line in str(caught.value).splitlines()]


# The file


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, name="quickstart.toml")
    lines = problems(tmp_path / "quickstat.toml")
    assert "no such recipe" in lines[0]
    assert lines[1] == f"Did you mean {tmp_path / 'quickstart.toml'}?"


def test_a_missing_file_lists_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, name="b.toml")
    write(tmp_path, name="a.toml")
    assert problems(tmp_path / "somethingelse")[1] == f"Recipes in {tmp_path}: a.toml, b.toml"


def test_a_folder_or_a_file_within_a_file_is_no_recipe(tmp_path: Path) -> None:
    assert "is a folder" in problems(tmp_path)[0]
    assert "cannot be read" in problems(write(tmp_path) / "inner.toml")[0]


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"\nseed = \n')
    (line,) = problems(path)
    assert str(path) in line
    assert "not valid TOML" in line
    assert "line 2" in line


def test_a_number_that_python_will_not_parse_is_a_syntax_error_too(tmp_path: Path) -> None:
    path = write(tmp_path, "seed = " + "9" * 5000)
    assert "not valid TOML" in problems(path)[0]
    assert "valid integer" in problems(write(tmp_path), "seed=" + "9" * 5000)[1]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load_recipe(path).name == "x"


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b'name = "caf\xe9"')
    lines = problems(path)
    assert lines == [f"{path}: not UTF-8 text (byte 11)", "Save it as UTF-8."]


# Keys and values


@pytest.mark.parametrize(
    ("extra", "key", "words"),
    [
        ("seeed = 1\n", "seeed", 'did you mean "seed"?'),
        ("[prune]\nsparcity = 0.5\n", "prune.sparcity", 'did you mean "sparsity"?'),
        ("[finetune]\nsparsity = 0.5\n", "finetune.sparsity", 'did you mean "prune.sparsity"?'),
        ("sparsity = 0.5\n", "sparsity", 'did you mean "prune.sparsity"?'),
        ("[prun]\nsparsity = 0.5\n", "prun", 'did you mean "prune"?'),
        ("zzzzzz = 1\n", "zzzzzz", "unknown key"),
        (
            "[[prune.losses]]\nname = 'kld'\ntemprature = 2\n",
            "prune.losses.0.temprature",
            'did you mean "temperature"?',
        ),
        (
            "[[prune.losses]]\nname = 'kld'\n[[prune.losses]]\nname = 'cross-correlation'\noffdiagonal = 2\n",
            "prune.losses.1.offdiagonal",
            'did you mean "off_diagonal"?',
        ),
        ("[prune]\nint = 1\n", "prune.int", "unknown key"),
        ("[prune]\n'a[b' = 1\n", "prune.a[b", "unknown key"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, extra: str, key: str, words: str) -> None:
    path = write(tmp_path, extra + MINIMAL if not extra.startswith("[") else MINIMAL + extra)
    headline, line = problems(path)
    assert headline == f"a problem in {path}"
    assert line.startswith(f"{path}: {key}: unknown key")
    assert line.endswith(words)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("prune.sparsity=1.2", "prune.sparsity"),
        ("prune.sparsity=1.0", "prune.sparsity"),
        ("prune.sparsity=-0.1", "prune.sparsity"),
        ("prune.sparsity=nan", "prune.sparsity"),
        ("prune.sparsity=inf", "prune.sparsity"),
        ("prune.sparsity=-inf", "prune.sparsity"),
        ("gate.min_metric=nan", "gate.min_metric"),
        ("finetune.epochs=inf", "finetune.epochs"),
        ("finetune.epochs=-1", "finetune.epochs"),
        ("prune.epochs=-1", "prune.epochs"),
        ("model.head='old'", "model.head"),
        ('prune.sparsity="0.5"', "prune.sparsity"),
        ("prune.sparsity=true", "prune.sparsity"),
        ("seed=1.0", "seed"),
        ("seed=true", "seed"),
        ("seed=-1", "seed"),
        ("seed=4294967296", "seed"),
        ("name=3", "name"),
        ('name="../up"', "name"),
        ("prune=3", "prune"),
        ("prune.losses=[{name='kl'}]", "prune.losses.0"),
        ("prune.losses=[{weight=1.0}]", "prune.losses.0"),
        ("prune.losses=[{name='none'}, {name='kld'}]", "prune.losses"),
        ("prune.losses=[{name='kld'}, {name='kld'}]", "prune.losses"),
        ("prune.scope='row'", "prune.scope"),
        ("task.name='sts2'", "task.name"),
        ("task.metric='pearson'", "task"),
        ("data.text=[]", "data.text"),
        ("data.text=['a', 'b', 'c', 'd']", "data.text"),
        ("data.text='a'", "data.text"),
        ("data.train=''", "data.train"),
        ("data.max_length=4", "data.max_length"),
        ("model.name=''", "model.name"),
        ("bench.threads=0", "bench.threads"),
        ("bench.threads=[]", "bench.threads"),
        ("bench.threads='two'", "bench.threads"),
        ("bench.batch_sizes=[1, 0]", "bench.batch_sizes"),
        ("bench.sequence_lengths=[2]", "bench.sequence_lengths"),
        ("bench.sequence_lengths=['tasks']", "bench.sequence_lengths.0"),
        ("task.eval_languages=3", "task.eval_languages"),
        ("export.opset=17", "export.opset"),
        ("prune.losses=[]", "prune.losses"),
        ("name=2026-11-24", "name"),
        ("model.name=2026-11-24T10:00:00Z", "model.name"),
        ("data.text=[10:00:00]", "data.text.0"),
        ("model=2026-11-24", "model"),
    ],
)
def test_a_value_that_cannot_be_is_refused(tmp_path: Path, override: str, key: str) -> None:
    headline, line = problems(write(tmp_path), override)
    assert headline.startswith("a problem in ")
    assert line.startswith(f"--set: {key}: ")
    assert len(line) > len(f"--set: {key}: ") + 10


def test_the_value_is_shown(tmp_path: Path) -> None:
    assert problems(write(tmp_path), "prune.sparsity=1.2")[1].endswith("less than 1 (got 1.2)")
    assert problems(write(tmp_path), "name=2026-11-24")[1].endswith("(got the date 2026-11-24; text needs quotes)")


def test_missing_keys_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "[model]\nrevision = 'main'\n")
    lines = problems(path)
    assert lines[0] == f"3 problems in {path}"
    assert [line.partition(": missing")[0] for line in lines[1:]] == [
        f"{path}: name",
        f"{path}: model.name",
        f"{path}: task",
    ]


def test_a_task_of_ones_own_needs_data(tmp_path: Path) -> None:
    path = write(tmp_path, "name = 'x'\nmodel.name = 'm'\ntask.type = 'regression'\ndata.train = 't.tsv'\n")
    assert "needs data.dev, data.text, data.label" in problems(path)[1]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "[prune]\nsparsity = 1.2\nepocs = 3\n[finetune]\nepochs = '3'\n")
    lines = problems(path, "seed=-1", "export.opset=1")
    assert lines[0] == f"5 problems in {path}"
    assert {tuple(line.split(": ")[:2]) for line in lines[1:]} == {
        (str(path), "prune.sparsity"),
        (str(path), "prune.epocs"),
        (str(path), "finetune.epochs"),
        ("--set", "seed"),
        ("--set", "export.opset"),
    }


def test_a_recipe_is_frozen(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    with pytest.raises(pydantic.ValidationError):
        recipe.name = "y"
    with pytest.raises(pydantic.ValidationError):
        recipe.prune.sparsity = 0.1


# extends


def test_extends_merges_key_by_key_and_replaces_arrays(tmp_path: Path) -> None:
    base = "[prune]\nsparsity = 0.5\nepochs = 7\n[bench]\nsequence_lengths = [16, 32, 64]\n"
    write(tmp_path, base, "base/b.toml")
    child = f"extends = 'base/b.toml'\n{MINIMAL}[prune]\nsparsity = 0.7\n[bench]\nsequence_lengths = [8]\n"
    recipe = load_recipe(write(tmp_path, child))
    assert (recipe.prune.sparsity, recipe.prune.epochs) == (0.7, 7)
    assert recipe.bench.sequence_lengths == (8,)


def test_losses_are_replaced_whole(tmp_path: Path) -> None:
    write(
        tmp_path, MINIMAL + "[[prune.losses]]\nname = 'kld'\n[[prune.losses]]\nname = 'cross-correlation'\n", "b.toml"
    )
    recipe = load_recipe(write(tmp_path, "extends = 'b.toml'\n[[prune.losses]]\nname = 'none'\n"))
    assert [loss.name for loss in recipe.prune.losses] == ["none"]


def test_a_chain_of_three_each_relative_to_its_file(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "[finetune]\nepochs = 1\nbatch_size = 1\nwarmup = 0.01\n", "a.toml")
    write(tmp_path, "extends = '../../a.toml'\n[finetune]\nbatch_size = 2\nwarmup = 0.02\n", "one/two/b.toml")
    recipe = load_recipe(write(tmp_path, "extends = 'two/b.toml'\nfinetune.warmup = 0.03\n", "one/c.toml"))
    assert (recipe.finetune.epochs, recipe.finetune.batch_size, recipe.finetune.warmup) == (1, 2, 0.03)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "extends = 'b.toml'\n", "a.toml")
    write(tmp_path, "extends = './b.toml/../a.toml'\n".replace("b.toml/../", ""), "b.toml")
    (line,) = problems(path)
    assert "in a circle" in line
    assert line.count("a.toml") >= 2
    assert "b.toml" in line
    assert "in a circle" in problems(write(tmp_path, "extends = 'self.toml'\n", "self.toml"))[0]


def test_a_missing_parent_names_the_key_and_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "extends = 'base/xlm.toml'\n")
    write(tmp_path, "", "base/xlmr.toml")
    lines = problems(path)
    assert lines[0] == f"{path}: extends: {tmp_path / 'base/xlm.toml'} does not exist"
    assert lines[1] == f"Did you mean {tmp_path / 'base/xlmr.toml'}?"


@pytest.mark.parametrize("value", ["3", "['a.toml', 'b.toml']"])
def test_extends_is_one_name(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, f"extends = {value}\n")
    assert problems(path)[0].startswith(f"{path}: extends: must be one file name")


def test_extends_is_for_files_only(tmp_path: Path) -> None:
    (line, *_) = problems(write(tmp_path), "extends='b.toml'")
    assert "extends" in line
    assert "did you mean" not in line


def test_each_problem_names_the_file_that_wrote_the_key(tmp_path: Path) -> None:
    base = write(tmp_path, MINIMAL + "[prune]\nsparsity = 2\nepochs = 0\n[bench]\nseconds = -1\n", "base.toml")
    child = write(tmp_path, "extends = 'base.toml'\n[prune]\nepochs = -1\nramp = 7\n")
    lines = problems(child, "prune.mask_updates=0", "bench.seconds=-2")
    assert {tuple(line.split(": ")[:2]) for line in lines[1:]} == {
        (str(base), "prune.sparsity"),
        (str(child), "prune.epochs"),
        (str(child), "prune.ramp"),
        ("--set", "prune.mask_updates"),
        ("--set", "bench.seconds"),
    }
    assert any("got -1" in line for line in lines)
    assert any("got -2" in line for line in lines)


def test_a_value_where_the_base_has_a_table_and_the_other_way_round(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "[prune]\nsparsity = 0.5\n", "base.toml")
    child = write(tmp_path, "extends = 'base.toml'\nprune = 3\n")
    assert problems(child)[1].startswith(f"{child}: prune: ")
    assert problems(child, "prune.sparsity=0.5") == ["--set: prune.sparsity: prune is a value, not a table"]


# --set


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("prune.sparsity=0.25", "prune.sparsity", 0.25),
        ("prune.sparsity = 0.25", "prune.sparsity", 0.25),
        ("prune.sparsity=0", "prune.sparsity", 0.0),
        ("model.revision='a=b=c'", "model.revision", "a=b=c"),
        ('model.revision="x # y"', "model.revision", "x # y"),
        ("bench.batch_sizes=[1, 8]", "bench.batch_sizes", (1, 8)),
        ("bench.threads=[1, 2]", "bench.threads", (1, 2)),
        ("bench.sequence_lengths=['task', 16]", "bench.sequence_lengths", ("task", 16)),
        ("prune={sparsity = 0.3}", "prune.sparsity", 0.3),
        ("model.trust_remote_code=true", "model.trust_remote_code", True),
        ("task.eval_languages=['de']", "task.eval_languages", ("de",)),
        ("seed=0x10", "seed", 16),
    ],
)
def test_set_takes_toml_after_the_first_equals_sign(tmp_path: Path, override: str, key: str, value: object) -> None:
    found: object = load_recipe(write(tmp_path), [override])
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_an_inline_table_leaves_its_neighbours(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + "[prune]\nepochs = 9\n"), ["prune={sparsity=0.3}", "gate={}"])
    assert (recipe.prune.epochs, recipe.prune.sparsity) == (9, 0.3)


def test_losses_can_be_set(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), ["prune.losses=[{name='kld', weight=0.25}, {name='cross-correlation'}]"])
    assert [loss.name for loss in recipe.prune.losses] == ["kld", "cross-correlation"]


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["seed", "=1", "prune.=1", ".seed=1", "prune..sparsity=1", ""])
def test_an_override_has_a_form(tmp_path: Path, override: str) -> None:
    assert problems(write(tmp_path), override)[0] == f"--set {override}: an override has the form A.B=VALUE"


@pytest.mark.parametrize("value", ["main", "apache-2.0", "v1.0 of May", "00123", "größe", "it's", "a=b", "x # y"])
def test_a_value_without_quotes_is_text(tmp_path: Path, value: str) -> None:
    assert load_recipe(write(tmp_path), [f"model.revision={value}"]).model.revision == value
    assert load_recipe(write(tmp_path), [f"model.revision = {value} "]).model.revision == value


@pytest.mark.parametrize("value", ["[1", '"x', "{a = 1", "1\nseed = 2", "1234567", "true"])
def test_the_option_that_a_message_names_sets_the_text(tmp_path: Path, value: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path), [f"model.revision={value}"])
    _, override = shlex.split(f"--set {str(caught.value).rpartition('--set ')[2]}")
    assert load_recipe(write(tmp_path), [override]).model.revision == value


def test_losses_are_set_by_name(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path), ["prune.losses=hidden:2+kld"])
    assert [(loss.name, loss.weight) for loss in recipe.prune.losses] == [("hidden", 2.0), ("kld", 0.5)]


@given(st.floats(min_value=0, max_value=1, exclude_max=True, allow_subnormal=False))
def test_every_valid_sparsity_comes_through(recipe_file: Path, sparsity: float) -> None:
    recipe = load_recipe(recipe_file, [f"prune.sparsity={sparsity!r}"])
    assert recipe.prune.sparsity == sparsity


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_every_text_comes_through(recipe_file: Path, text: str) -> None:
    assert load_recipe(recipe_file, [f"model.revision={json.dumps(text, ensure_ascii=False)}"]).model.revision == text


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("recipe"))


# Paths


def test_paths_count_from_the_file_that_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base/weights").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    base = MINIMAL.replace("org/model", "weights")
    write(tmp_path, base, "base/b.toml")
    child = write(tmp_path, "extends = '../base/b.toml'\ndata.dev = 'sub/dev.tsv'\n", "child/c.toml")
    monkeypatch.chdir(tmp_path / "elsewhere")
    for path in (child, Path("../child/c.toml")):
        recipe = load_recipe(path, ["data.test='test.tsv'"])
        resolved = {split: Path(getattr(recipe.data, split)).resolve() for split in ("train", "dev", "test")}
        assert resolved == {
            "train": tmp_path / "base/train.tsv",
            "dev": tmp_path / "child/sub/dev.tsv",
            "test": tmp_path / "elsewhere/test.tsv",
        }
        assert Path(recipe.model.name) == tmp_path / "base/weights"
        assert all(Path(getattr(recipe.data, split)).is_absolute() for split in resolved)


@pytest.mark.parametrize("name", ["org/model", "model", "package:gt_all/model", "package:x/../y"])
def test_what_is_no_folder_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    assert load_recipe(write(tmp_path), [f"model.name='{name}'"]).model.name == name


@pytest.mark.parametrize("name", ["./gone", "../gone", "/gone", "~/gone", "~nobody-of-that-name/gone"])
def test_what_looks_like_a_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = load_recipe(write(tmp_path, MINIMAL.replace("org/model", name).replace("train.tsv", name)))
    assert Path(recipe.model.name).is_absolute()
    assert Path(recipe.model.name).name == "gone"
    assert Path(str(recipe.data.train)).is_absolute()


def test_splits_of_a_data_set_are_no_paths(tmp_path: Path) -> None:
    known = "name = 'x'\nmodel.name = 'm'\ntask.name = 'sst2'\n[data]\ntrain = 'train'\ndev = 'dev.tsv.gz'\n"
    recipe = load_recipe(write(tmp_path, known))
    assert recipe.data.train == "train"
    assert recipe.data.dev == str(tmp_path / "dev.tsv.gz")
    hub = load_recipe(write(tmp_path), ["data.dataset='org/set'"])
    assert (hub.data.dataset, hub.data.train) == ("org/set", "train.tsv")
    (tmp_path / "set").mkdir()
    assert load_recipe(write(tmp_path, MINIMAL + "dataset = 'set'\n")).data.dataset == str(tmp_path / "set")


def test_the_result_does_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    recipes: list[Recipe] = []
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        recipes.append(load_recipe(path))
    assert recipes[0] == recipes[1]
