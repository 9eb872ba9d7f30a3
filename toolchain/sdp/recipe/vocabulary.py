"""The recipe's [vocabulary]: the pieces of the pretrained tokenizer to keep."""

from __future__ import annotations

from pydantic import Field

from sdp.recipe.base import Section


class VocabularySection(Section):
    """Fewer pieces: tokenizer and embeddings are cut down to what a corpus uses, before fine-tuning.

    [vocabulary]
    size = 24000
    corpus = ["texts/{language}/*.txt.gz"]
    """

    size: int = Field(gt=0)
    """Most pieces to keep. First come special tokens and the characters of the corpus, then the pieces that
    the corpus uses most (every language weighs the same), then the tokenizer's likeliest that are spelled with those
    characters. Pieces with other characters are removed, even if there is room."""
    corpus: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Files of text, relative to the recipe: txt (one text a line), tsv, csv, jsonl, parquet, also .gz; names may hold
    "*" and "{language}". Without it, the texts of all train and dev rows of every language that is trained on or
    evaluated, at most 200,000 of each; where the name of data.train holds "{language}", also of train files that the
    task itself does not read. Test rows are never looked at."""
    text: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The text columns of the corpus' tables; those of the task without it."""
    languages: tuple[str, ...] | None = Field(default=None, min_length=1)
    """The languages whose texts count, where the names of corpus or data hold "{language}"; without it those that the
    task trains on or is evaluated on."""
    held_out: float = Field(default=0.1, gt=0, lt=1)
    """Share of the texts that is not counted: the coverage of the kept pieces is measured on it. Equal texts are on
    the same side."""
