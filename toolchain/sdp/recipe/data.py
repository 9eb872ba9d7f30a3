"""The recipe's [data]: the source of the rows."""

from __future__ import annotations

from pydantic import Field, model_validator

from sdp.recipe.base import Section


class DocstringsSection(Section):
    """Text out of installed Python packages: first sentences of docstrings, labelled with the package they are from."""

    packages: tuple[str, ...] = Field(min_length=2)
    """Import names of installed packages; each is one label. Files are parsed, never imported."""
    train: int = Field(gt=0)
    """Number of training rows, balanced over the packages."""
    dev: int = Field(gt=0)
    """Number of dev rows, balanced over the packages."""
    test: int = Field(default=0, ge=0)
    """Number of test rows, balanced over the packages."""


class DataSection(Section):
    """Where the rows come from: files, a hub data set (or a folder of the same form), or docstrings."""

    dataset: str | None = Field(default=None, min_length=1)
    """A data set's hub id, or a local folder in hub form, relative to the recipe; train, dev, test then name splits."""
    config: str | None = None
    """Configuration of the hub data set; may hold "{language}"."""
    revision: str | None = None
    """Branch, tag or commit of the hub data set."""
    train: str | None = Field(default=None, min_length=1)
    """Training file, relative to the recipe (tsv, csv, jsonl, parquet, also .gz; may hold "{language}"), or split.
    Commas or semicolons stand between the fields of a csv file."""
    dev: str | None = Field(default=None, min_length=1)
    """Dev file or split: choices are made on it; may hold "{language}" or "{subset}"."""
    test: str | None = Field(default=None, min_length=1)
    """Test file or split, named as dev: read by the evaluate stage only."""
    text: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=3)
    """The text column, or the two columns of a pair task; a third is joined to the second by a space. For tagging the
    column of words: lists, the text of lists (['a', 'b']), or strings with spaces between the words. For question
    answering the columns of questions and contexts."""
    label: str | tuple[str, ...] | None = None
    """The label column: strings or integers; numbers for regression and ranking; for tagging a tag for each word; for
    multi-label the labels of a row: a list, or a text with "|" between them, or one column of 0 and 1 for each label.
    A class is what its text is, so "nan", "None", "1" and "01" are four; the integer 1, 1.0 in a column of numbers and
    the text "1" are one. null, NaN and an empty field are missing labels. For question answering the column of answers
    in the form of SQuAD: {"text": ["Paris"], "answer_start": [17]}, empty lists where there is none (as JSON in tsv
    and csv)."""
    group: str | None = None
    """Ranking: the column whose equal values form one list, such as the query; no row may lack it."""
    train_rows: int | None = Field(default=None, gt=0)
    """Largest number of training rows. They are drawn once, the same for every seed; a smaller number draws a subset of
    a larger one."""
    docstrings: DocstringsSection | None = None
    """Docstrings of installed packages in place of files."""
    unlabeled: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Files of text without labels for pruning, relative to the recipe: txt (one text a line; for tasks of one text),
    or tables with the task's text columns; also .gz; names may hold "*" and "{language}". The pruned network learns
    from them what the fine-tuned one computes. Rows that train, dev or test have are left out."""
    max_length: int = Field(default=128, ge=8, le=8192)
    """Longest input in tokens, at most the positions of the model; longer ones are cut. For question answering a longer
    context is read in windows of this size (SQuAD: 384)."""
    stride: int | None = Field(default=None, ge=1)
    """Question answering: tokens of a long context that neighbouring windows share, fewer than half of max_length;
    without it a third of max_length (SQuAD: 128 of 384)."""

    @property
    def shared_tokens(self) -> int:
        """Tokens that neighbouring windows share, with the default filled in."""
        return self.max_length // 3 if self.stride is None else self.stride

    @model_validator(mode="after")
    def _one_source(self) -> DataSection:
        if self.docstrings is not None:
            given = [
                key
                for key in ("dataset", "config", "train", "dev", "test", "text", "label", "group", "train_rows")
                if getattr(self, key)
            ]
            if given:
                raise ValueError(f"docstrings is a source of its own; remove {', '.join(given)}")
        if self.config is not None and self.dataset is None and self.docstrings is None:
            raise ValueError("config belongs to dataset, which is not set")
        return self
