"""tokenizer.json as a function from texts to a model's inputs, for training, evaluation, golden inputs and predictions.

The file alone decides: where a long text is cut and on which side, what frames a text, and what shorter rows of a batch
are padded with. Whoever loads it with `tokenizers.Tokenizer.from_file` and calls `encode_batch` gets the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.errors import ModelFileError, SdpError
from sdp_onnx.model.files import check_regular

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
"""Names of the inputs that a tokenizer makes for a model, in the order in which an exported file declares them."""
Side = Literal["left", "right"]
Row = dict[str, list[int]]


@dataclass(frozen=True)
class Padding:
    """What shorter rows of a batch are filled up with; its attention mask is 0.

    Attributes:
        id: of the token.
        token: its name in tokenizer.json.
        type_id: its token type.
        side: where it goes.
    """

    id: int = 0
    token: str = "[PAD]"
    type_id: int = 0
    side: Side = "right"


@dataclass(frozen=True)
class TokenizedText:
    """One text, one pair or the words of one sentence.

    Attributes:
        inputs: the model's inputs by name, L values each; L is at least 1.
        words: of a sentence, for each token the number of its word, None for what frames the words; empty for a text.
    """

    inputs: Row
    words: list[int | None]


class TextTokenizer:
    """A tokenizer that cuts at a length, and pads a batch when it is asked to.

    Args:
        tokenizer: what tokenizer.json holds; it belongs to this object from then on.
        inputs: names of the inputs to make; always with input_ids and attention_mask.
        named: special tokens by transformers' names for them, such as "cls_token".
        padding: in place of what the file holds.
        cut_side: in place of what the file holds.

    Attributes:
        inputs: their names, in the order of `INPUT_NAMES`.
        named: as given.
        padding: what fills up a row.
        cut_side: where a text that is too long is cut.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        inputs: Sequence[str] = INPUT_NAMES,
        named: Mapping[str, str] | None = None,
        padding: Padding | None = None,
        cut_side: Side | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self.inputs = tuple(name for name in INPUT_NAMES if name in inputs or name != "token_type_ids")
        self.named = dict(named or {})
        self.padding = padding or _stored_padding(tokenizer)
        stored = tokenizer.truncation
        self.cut_side: Side = cut_side or (stored["direction"] if stored else "right")
        tokenizer.no_padding()

    @classmethod
    def read(
        cls, folder: Path, inputs: Sequence[str] = INPUT_NAMES, named: Mapping[str, str] | None = None
    ) -> TextTokenizer:
        """The tokenizer of a folder.

        Raises:
            ModelFileError: tokenizer.json is missing or damaged.
        """
        from tokenizers import Tokenizer

        path = folder / TOKENIZER_FILE
        with translate_errors(
            lambda reason: ModelFileError(f"the tokenizer cannot be read ({reason})", where=str(path))
        ):
            check_regular(path)
            return cls(Tokenizer.from_file(str(path)), inputs, named)

    @property
    def backend(self) -> Tokenizer:
        """The tokenizer itself, which pads nothing."""
        return self._tokenizer

    @property
    def max_length(self) -> int | None:
        """Tokens at which a text is cut; None for nowhere."""
        truncation = self._tokenizer.truncation
        return None if truncation is None else int(truncation["max_length"])

    def cut_at(self, max_length: int) -> None:
        """Cut what is longer than so many tokens with what frames it; of a pair the longer text first."""
        self._tokenizer.enable_truncation(max_length, strategy="longest_first", direction=self.cut_side)

    def encode(self, rows: Sequence[Sequence[str]], *, words: bool = False) -> list[TokenizedText]:
        """Tokenize texts, each as if it came alone.

        A text that the tokenizer makes nothing of (an empty one, where nothing frames it) is one padding token, which
        the model attends to: no model runs on none.

        Args:
            rows: of each row the texts, one a column, or its words. The second text of a pair is that of the second
                column, with those of later columns behind it.
            words: whether a row is words.
        """
        given = [list(row) for row in rows] if words else [segments(row) for row in rows]
        single = [row[0] if len(row) == 1 and not words else row for row in given]
        encodings = self._tokenizer.encode_batch(single, is_pretokenized=words)
        return [self._tokenized(encoding, encoding.word_ids if words else []) for encoding in encodings]

    def pad(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, NDArray[np.int64]]:
        """One batch of rows, each [B, L] with the L of the longest."""
        longest = max(len(row["input_ids"]) for row in rows)
        fill = {"input_ids": self.padding.id, "attention_mask": 0, "token_type_ids": self.padding.type_id}
        batch = {name: np.full((len(rows), longest), fill[name], np.int64) for name in self.inputs}
        for place, row in enumerate(rows):
            length = len(row["input_ids"])
            start = longest - length if self.padding.side == "left" else 0
            for name, values in batch.items():
                values[place, start : start + length] = row[name]
        return batch

    def write(self, folder: Path) -> None:
        """Write tokenizer.json, which cuts and pads as this tokenizer does."""
        padding = self.padding
        self._tokenizer.enable_padding(
            direction=padding.side, pad_id=padding.id, pad_type_id=padding.type_id, pad_token=padding.token
        )
        self._tokenizer.save(str(folder / TOKENIZER_FILE))
        self._tokenizer.no_padding()

    def _tokenized(self, encoding: Encoding, words: list[int | None]) -> TokenizedText:
        if not encoding.ids:
            one: Row = {"input_ids": [self.padding.id], "attention_mask": [1], "token_type_ids": [0]}
            return TokenizedText({name: one[name] for name in self.inputs}, words)
        made = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        return TokenizedText({name: made[name] for name in self.inputs}, words)


@contextmanager
def translate_errors(error_of: Callable[[str], SdpError]) -> Iterator[None]:
    """Turn whatever a tokenizer raises into an error of sdp's own.

    Tokenizers raise bare Exceptions and, where their Rust code panics, what is not even an Exception.

    Args:
        error_of: makes the error from the first line of the reason.

    Raises:
        SdpError: what `error_of` made; a Ctrl-C or an exit passes as it is.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise error_of(reason) from error


def segments(texts: Sequence[str]) -> tuple[str, ...]:
    """The one or two texts that a tokenizer takes, from those of one, two or more columns."""
    return (texts[0], " ".join(texts[1:])) if len(texts) > 1 else (texts[0],)


def _stored_padding(tokenizer: Tokenizer) -> Padding:
    stored = tokenizer.padding
    if stored is None:
        return Padding()
    return Padding(stored["pad_id"], stored["pad_token"], stored["pad_type_id"], stored["direction"])
