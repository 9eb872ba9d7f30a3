"""The table of benchmark tasks, one entry a task: the 8 of GLUE, 8 of XGLUE, and both of SQuAD.

A recipe names one with `task.name`; keys of `[data]` override the entry, so that the same task can be read from the
hub, from a folder of the same form, or from plain files.

GLUE: arXiv 1804.07461. XGLUE: arXiv 2004.01401; its XNLI and PAWS-X are read from the original data sets, which have
more languages (PAWS-X: 7, not 4). SQuAD: arXiv 1606.05250, with questions without an answer arXiv 1806.03822.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from sdp_onnx.deploy import manifest

ProblemType = manifest.ProblemType
MetricName = Literal[
    "accuracy",
    "f1",
    "macro-f1",
    "micro-f1",
    "matthews",
    "pearson",
    "spearman",
    "entity-f1",
    "ndcg",
    "answer-f1",
    "exact-match",
]

GLUE = "nyu-mll/glue"
XGLUE = "microsoft/xglue"
INFERENCE = ("entailment", "neutral", "contradiction")
XNLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
PAWSX_LANGUAGES = ("de", "en", "es", "fr", "ja", "ko", "zh")
NER_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
# The universal part-of-speech tags of Universal Dependencies, in the data set's order.
POS_TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ"),
    *("SYM", "VERB", "X"),
)
POS_LANGUAGES = (
    *("ar", "bg", "de", "el", "en", "es", "fr", "hi", "it", "nl", "pl", "pt", "ru", "th", "tr", "ur", "vi", "zh"),
)
NEWS_CATEGORIES = (
    *("foodanddrink", "sports", "travel", "finance", "lifestyle", "news", "entertainment", "health", "video", "autos"),
)


@dataclass(frozen=True)
class Task:
    """A benchmark task: its data set on the hub, columns, metrics and languages.

    Attributes:
        name: its name in recipes.
        type: the problem type.
        metrics: the official metrics; the first is the recipe's score, the others are reported beside it.
        dataset, config: hub id and configuration, which may hold "{language}".
        text: the text columns; all after the first are joined to the second text of a pair.
        label: the label column.
        labels: the classes in the order of their ids, or the grades of a ranking from 0 up; empty for regression and
            question answering.
        train, dev, test: names of splits; dev and test may hold "{language}" or "{subset}".
        languages: languages of the evaluation splits.
        subsets: values of "{subset}"; choices are made on the first.
        group: for ranking, the column whose equal values form one list.
    """

    name: str
    type: ProblemType
    metrics: tuple[MetricName, ...]
    dataset: str
    config: str
    text: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    train: str = "train"
    dev: str = "validation"
    test: str | None = None
    languages: tuple[str, ...] = ("en",)
    subsets: tuple[str, ...] = ()
    group: str | None = None


# The test sets of GLUE and SQuAD have no public labels, so their tasks have no test split here.
_TASKS = (
    Task(
        name="cola",
        type="classification",
        metrics=("matthews",),
        dataset=GLUE,
        config="cola",
        text=("sentence",),
        label="label",
        labels=("unacceptable", "acceptable"),
    ),
    Task(
        name="sst2",
        type="classification",
        metrics=("accuracy",),
        dataset=GLUE,
        config="sst2",
        text=("sentence",),
        label="label",
        labels=("negative", "positive"),
    ),
    Task(
        name="mrpc",
        type="classification",
        metrics=("f1", "accuracy"),
        dataset=GLUE,
        config="mrpc",
        text=("sentence1", "sentence2"),
        label="label",
        labels=("not_equivalent", "equivalent"),
    ),
    Task(
        name="stsb",
        type="regression",
        metrics=("pearson", "spearman"),
        dataset=GLUE,
        config="stsb",
        text=("sentence1", "sentence2"),
        label="label",
        labels=(),
    ),
    Task(
        name="qqp",
        type="classification",
        metrics=("f1", "accuracy"),
        dataset=GLUE,
        config="qqp",
        text=("question1", "question2"),
        label="label",
        labels=("not_duplicate", "duplicate"),
    ),
    Task(
        name="mnli",
        type="classification",
        metrics=("accuracy",),
        dataset=GLUE,
        config="mnli",
        text=("premise", "hypothesis"),
        label="label",
        labels=INFERENCE,
        dev="validation_{subset}",
        # Genres of the training set, and other genres.
        subsets=("matched", "mismatched"),
    ),
    Task(
        name="qnli",
        type="classification",
        metrics=("accuracy",),
        dataset=GLUE,
        config="qnli",
        text=("question", "sentence"),
        label="label",
        labels=("entailment", "not_entailment"),
    ),
    Task(
        name="rte",
        type="classification",
        metrics=("accuracy",),
        dataset=GLUE,
        config="rte",
        text=("sentence1", "sentence2"),
        label="label",
        labels=("entailment", "not_entailment"),
    ),
    Task(
        name="xnli",
        type="classification",
        metrics=("accuracy",),
        dataset="facebook/xnli",
        config="{language}",
        text=("premise", "hypothesis"),
        label="label",
        labels=INFERENCE,
        test="test",
        languages=XNLI_LANGUAGES,
    ),
    Task(
        name="pawsx",
        type="classification",
        metrics=("accuracy",),
        dataset="google-research-datasets/paws-x",
        config="{language}",
        text=("sentence1", "sentence2"),
        label="label",
        labels=("0", "1"),
        test="test",
        languages=PAWSX_LANGUAGES,
    ),
    Task(
        name="nc",
        type="classification",
        metrics=("accuracy",),
        dataset=XGLUE,
        config="nc",
        text=("news_title", "news_body"),
        label="news_category",
        labels=NEWS_CATEGORIES,
        dev="validation.{language}",
        test="test.{language}",
        languages=("de", "en", "es", "fr", "ru"),
    ),
    Task(
        name="ner",
        type="tagging",
        metrics=("entity-f1",),
        dataset=XGLUE,
        config="ner",
        text=("words",),
        label="ner",
        labels=NER_TAGS,
        dev="validation.{language}",
        test="test.{language}",
        languages=("de", "en", "es", "nl"),
    ),
    Task(
        name="pos",
        type="tagging",
        metrics=("accuracy",),
        dataset=XGLUE,
        config="pos",
        text=("words",),
        label="pos",
        labels=POS_TAGS,
        dev="validation.{language}",
        test="test.{language}",
        languages=POS_LANGUAGES,
    ),
    Task(
        name="qam",
        type="classification",
        metrics=("accuracy",),
        dataset=XGLUE,
        config="qam",
        text=("question", "answer"),
        label="label",
        labels=("False", "True"),
        dev="validation.{language}",
        test="test.{language}",
        languages=("de", "en", "fr"),
    ),
    Task(
        name="qadsm",
        type="classification",
        metrics=("accuracy",),
        dataset=XGLUE,
        config="qadsm",
        text=("query", "ad_title", "ad_description"),
        label="relevance_label",
        labels=("Bad", "Good"),
        dev="validation.{language}",
        test="test.{language}",
        languages=("de", "en", "fr"),
    ),
    Task(
        name="wpr",
        type="ranking",
        metrics=("ndcg",),
        dataset=XGLUE,
        config="wpr",
        text=("query", "web_page_title", "web_page_snippet"),
        # The spelling of the data set.
        label="relavance_label",
        labels=("Bad", "Fair", "Good", "Excellent", "Perfect"),
        dev="validation.{language}",
        test="test.{language}",
        languages=("de", "en", "es", "fr", "it", "pt", "zh"),
        group="query",
    ),
    Task(
        name="squad",
        type="question-answering",
        metrics=("answer-f1", "exact-match"),
        dataset="rajpurkar/squad",
        config="plain_text",
        text=("question", "context"),
        label="answers",
        labels=(),
    ),
    Task(
        name="squad-v2",
        type="question-answering",
        metrics=("answer-f1", "exact-match"),
        dataset="rajpurkar/squad_v2",
        config="squad_v2",
        text=("question", "context"),
        label="answers",
        labels=(),
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TASKS}


def has_token_logits(problem_type: ProblemType) -> bool:
    """Whether the network of such a task has logits for every token."""
    return problem_type in ("tagging", "question-answering")


def find_task(name: str) -> Task:
    """Return the task with this name.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(name, TASKS, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    raise ValueError(f'unknown task "{name}"{meant} (known: {", ".join(sorted(TASKS))}; or give type for your own)')
