"""The page of a run that was really made, and the same run with other numbers and texts in its files."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.results import read_results
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe import load_recipe
from sdp.report.page import SECTIONS, page_environment, render_page, render_section
from sdp.report.plots import training_curves
from sdp.report.section import RunFiles
from sdp.report.sections import flips, loss, origin, size, verdict
from sdp.report.summary import summary_lines, summary_table
from sdp.shipping.card import part_rows
from support.artifacts import UNDEFINED, scores, vocabulary_report
from support.artifacts import part as part_of
from support.pages import Outline, colours, contrast

HOSTILE = "<script>alert('1')</script> & \"quoted\" \N{RIGHT-TO-LEFT OVERRIDE}reversed"
ARABIC = "هذا الفيلم كان رائعا"


def files(project: Path) -> RunFiles:
    return RunFiles(load_recipe(project / "toy.toml"), RunFolder(project / "runs/toy"))


def part(project: Path, module: ModuleType) -> str:
    """One section alone: it takes no time to draw what a test does not look at."""
    return str(render_section(page_environment(), module.section(files(project))))


def change(path: Path, edit: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def write_flips(run: Path, rows: list[dict[str, str]]) -> None:
    with (run / "3-evaluate/flips.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def flip(number: int, change: str, part: str = "", text: str = "a film", sure: float = 0.5) -> dict[str, str]:
    output = {"lost": ("pos", "pos", "neg"), "gained": ("pos", "neg", "pos"), "other": ("pos", "neg", "fair")}[change]
    row = {"row": str(number), "part": part, **dict(zip(("label", "dense", "pruned"), output, strict=True))}
    return row | {"dense_probability": "0.6", "pruned_probability": f"{sure:.3f}", "change": change, "text1": text}


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "project"
    shutil.copytree(finished, copy, symlinks=True)
    return copy


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return (finished / "runs/toy/report.html").read_text(encoding="utf-8")


def test_the_verdict_comes_first_and_every_section_is_there(page: str) -> None:
    body = page.partition("</nav>")[2]
    assert 'class="verdict pass"' in page.partition("</h1>")[0]
    assert body.index(" of 60 predictions changed") < body.index("Both checks pass.") < body.index("What it cost")
    outline = Outline(page)
    # All but those of a trimmed vocabulary, of allocated sparsities and of removed units.
    assert outline.headings.count(2) == len(SECTIONS) - 3
    assert {f"section-{i + 1}" for i in range(len(SECTIONS) - 3)} <= outline.ids.keys()


def test_structure_serves_keyboard_and_screen_reader(page: str) -> None:
    outline = Outline(page)
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert max(outline.ids.values()) == 1, "an id is there twice"
    assert all(header["scope"] in ("row", "col") for header in outline.found("th"))
    assert len(outline.found("svg")) >= 8
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in outline.found("svg"))
    boxes = [box for box in outline.found("div") if box.get("class") == "wide"]
    assert all(box["tabindex"] == "0" and box["role"] == "region" and box["aria-label"] for box in boxes)
    assert page.count("<table") == len(boxes), "a table outside of a box that scrolls"
    reached = [given for _, given in outline.tags if given.get("tabindex") == "0"]
    assert all(given.get("role") and given.get("aria-label") for given in reached), (
        "what the keyboard reaches has a name"
    )
    assert outline.found("html")[0]["lang"] == "en"


def test_text_has_contrast_in_light_dark_and_print(page: str) -> None:
    light, dark, printed = colours(page)
    for scheme in (light, dark, printed):
        for name in ("text", "soft", "link", "pass", "fail", "inconclusive"):
            for back in ("back", "panel"):
                assert contrast(scheme[name], scheme[back]) >= 4.5, (name, back)
        for back in ("tint", "mark"):
            assert contrast(scheme["text"], scheme[back]) >= 4.5, back
    assert contrast(light["back"], dark["back"]) > 10


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    outline = Outline(page)
    inside = [given.get("href", given.get("xlink:href", "")) for _, given in outline.tags]
    assert all(link.startswith(("#", "data:,")) for link in inside if link)
    assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in outline.tags}
    assert "url(" not in page.replace("url(#", "")


def test_failing_checks_come_first_and_say_why(project: Path) -> None:
    def fail(content: dict) -> None:
        first = content["checks"][0]
        content["verdict"] = "fail"
        content["checks"] = [
            first,
            {**first, "outcome": "inconclusive", "sentence": "the doubtful one"},
            {**first, "outcome": "fail", "sentence": "size <b> against the dense file is 2"},
        ]

    change(project / "runs/toy/6-gate/verdict.json", fail)
    body = part(project, verdict)
    assert "Of 3 checks 1 fails, 1 is inconclusive and 1 passes." in body
    places = [body.index(words) for words in ("size &lt;b&gt; against", "the doubtful one", "drop of accuracy on dev,")]
    assert places == sorted(places)

    change(project / "runs/toy/6-gate/verdict.json", lambda content: content.update(checks=[], verdict="inconclusive"))
    assert "Nothing was checked: that is no pass." in part(project, verdict)


def test_texts_are_shown_as_they_are_whatever_they_hold(project: Path) -> None:
    run = project / "runs/toy"
    write_flips(
        run, [flip(0, "lost", text=HOSTILE), flip(1, "lost", text=ARABIC), flip(2, "gained", text="long " * 90_000)]
    )
    outline = Outline(part(project, flips))
    assert not outline.found("script")
    assert ("p", HOSTILE) in outline.words
    assert ("p", ARABIC) in outline.words
    texts = [given for given in outline.found("p") if given.get("class") == "text"]
    assert [given["dir"] for given in texts] == ["auto"] * 3
    assert max(len(words) for tag, words in outline.words if tag == "p" and words.startswith("long")) < 400


def test_examples_are_losses_then_gains_in_turns_from_every_language(project: Path) -> None:
    run = project / "runs/toy"
    rows = [flip(i, "gained", "en", f"gained {i}", 0.99) for i in range(20)]
    rows += [flip(100 + i, "lost", "en", f"lost en {i}", 0.5 + i / 100) for i in range(30)]
    rows += [flip(200 + i, "lost", "sw", f"lost sw {i}", 0.4) for i in range(2)]
    write_flips(run, rows)
    change(run / "3-evaluate/metrics.json", lambda content: content.update(part="language"))
    outline = Outline(part(project, flips))
    shown = [words for tag, words in outline.words if tag == "p" and words.startswith(("lost ", "gained "))]
    assert shown[:4] == ["lost en 29", "lost sw 0", "lost en 28", "lost sw 1"]
    assert [text.split()[0] for text in shown] == ["lost"] * 10 + ["gained"] * 5
    titles = [words for tag, words in outline.words if tag == "h3"]
    assert "Right before, wrong now: 32" in titles
    assert "Wrong before, right now: 20" in titles
    assert [given.get("lang") for given in outline.found("p") if given.get("class") == "text"][:2] == ["en", "sw"]


def test_a_trimmed_vocabulary_is_reported_with_size_and_time(project: Path) -> None:
    assert "every piece" not in part(project, size)
    folder = project / "runs/toy/0-vocabulary"
    folder.mkdir()
    bench = json.loads((project / "runs/toy/5-bench/latency.json").read_text())
    removed = 10 * bench["candidate_bytes"] - bench["baseline_bytes"]
    vocabulary_report(removed_bytes=removed).store(folder)
    (folder / "stage.json").write_text(json.dumps({"seconds": 12.5, "outputs": {}}))
    assert "the exported file is 10.0\N{NO-BREAK SPACE}% of that" in part(project, size)
    words = Outline(part(project, origin)).words
    assert words[words.index(("th", "0-vocabulary")) + 1] == ("td", "12.5")


def test_on_paper_long_cells_wrap(page: str) -> None:
    printed = page.partition("@media print {")[2].partition("</style>")[0]
    assert "@media" not in printed
    assert "td.n, .grid tbody th, .pairs th { white-space: normal; }" in printed


def test_losses_by_class_and_language_are_those_of_the_exported_file(project: Path) -> None:
    def edit(content: dict) -> None:
        estimate = {"value": 0.25, "low": 0.125, "high": 0.375}
        lost = {**scores(estimate, estimate, estimate), "over": ["sw", "en"], "also": {}}
        content.update(part="language", parts={"sw": part_of(estimate, rows=1234), "en": part_of(estimate, rows=5)})
        content.update(averages={"all": lost, "zero-shot": lost})
        record = content["classes"][0]
        content["classes"] = [{**record, "class": f"<class {i}>"} for i in range(20)]
        content["classes"][19]["f1"] = dict.fromkeys(("dense", "exported", "drop", "drop_of_all"), estimate)

    change(project / "runs/toy/4-export/metrics.json", edit)
    outline = Outline(part(project, loss))
    rows = [words for tag, words in outline.words if tag == "bdi"]
    assert rows[:4] == ["sw", "en", "average, all", "average, zero-shot"]
    assert rows[4] == "<class 19>", "what lost most comes first"
    assert ("summary", "The other 8") in outline.words
    assert ("td", "0.125 to 0.375") in outline.words
    assert ("td", "1,234") in outline.words


def test_a_run_without_profile_analysis_and_classes(project: Path) -> None:
    run = project / "runs/toy"
    change(run / "5-bench/latency.json", lambda content: content.pop("profile"))
    (run / "2-prune/analysis.json").unlink()
    change(run / "4-export/metrics.json", lambda content: content.update(classes=[], also={}, parts={}))
    known = files(project)
    outline = Outline(render_page(known.recipe, known.run))
    titles = [words for tag, words in outline.words if tag in ("h2", "h3")]
    assert not {"What was lost, and where", "Where the time goes", "What pruning did to the network"} & set(titles)
    assert outline.headings.count(2) == len(SECTIONS) - 4


def test_every_template_is_part_of_the_stages_code() -> None:
    """A change to a template makes the report stage out of date, as a change to a module does."""
    import sdp.report
    from sdp.pipeline.fingerprint import installed

    sources, hashed = installed(), set[bytes]()
    for module in sources.closure("sdp.stages.report"):
        path = sources.file(module)
        assert path is not None
        names = re.findall(r"[\w./-]+\.html", path.read_text(encoding="utf-8"))
        hashed |= set(sources.templates(path, names).values())
    for template in Path(sdp.report.__file__).parent.rglob("*.html"):
        assert template.read_bytes() in hashed, template.name


def test_an_undefined_metric_is_a_word_on_the_page(project: Path) -> None:
    run = project / "runs/toy"

    def edit(content: dict) -> None:
        name = list(content["models"])[1]
        nothing = scores(UNDEFINED, UNDEFINED, UNDEFINED, name)
        content.update(**{**nothing, "test": {**content["test"], "p": None}}, metric="matthews")
        content["constant"].update(gain=UNDEFINED, value=None)
        lost = {**part_of(UNDEFINED, name=name, rows=4), **nothing}
        average = {**nothing, "over": ["de", "en"], "also": {}}
        content.update(part="language", parts={"de": lost, "en": lost}, averages={"all": average})

    for file in ("3-evaluate/metrics.json", "4-export/metrics.json"):
        change(run / file, edit)
    for file in ("1-finetune/metrics.json", "2-prune/metrics.json"):
        change(run / file, lambda content: [record.update(dev=None) for record in content["log"] if "dev" in record])
    known = files(project)
    body = render_page(known.recipe, known.run)
    assert "matthews on dev is undefined (dense, exported): all labels are of one class." in body
    assert "what was lost is undefined, because all labels are of one class." in body
    assert ("td", "undefined") in Outline(body).words
    lines = summary_lines(known.run)
    assert "matthews on dev is undefined (dense, exported): all labels are of one class" in lines
    assert any(line.startswith("dense against pruned: mcnemar undefined") for line in lines)
    assert summary_table(read_results(known.run), "toy") is not None
    assert part_rows(ExportMetrics.load(known.run))[0] == ["de", "4", *["undefined"] * 3, ""]


def test_a_curve_of_a_training_without_records_is_empty() -> None:
    loss, score = training_curves("fine-tuning", [], "accuracy")
    assert "training loss" in loss
    assert "accuracy on dev" in score
