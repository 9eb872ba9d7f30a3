"""Tokenize texts with tokenizer.json, for training, evaluation, golden inputs and predictions.

The file alone sets the truncation and its side, the special tokens around a text, and the padding of shorter rows.
`tokenizers.Tokenizer.from_file` and `encode_batch` give the same tokens.
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
    """The padding of shorter rows of a batch; its attention mask is 0.

    Attributes:
        id: id of the token.
        token: its name in tokenizer.json.
        type_id: its token type.
        side: side of the padding.
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
        words: for a sentence, the number of each token's word, None for special tokens; empty for a text.
    """

    inputs: Row
    words: list[int | None]


@dataclass(frozen=True)
class TokenizedWindow:
    """A pair whose second text is cut to a window of it.

    Attributes:
        inputs: the model's inputs by name, L values each; L is at least 1.
        offsets: of each token of the second text its first character there and the one behind its last; -1 and -1 for
            other tokens.
    """

    inputs: Row
    offsets: list[tuple[int, int]]


FRAME = 4
"""Special tokens around a pair, at most; a first text has half of a window without them."""


class TextTokenizer:
    """A tokenizer that truncates to a length, and pads batches on request.

    Args:
        tokenizer: the content of tokenizer.json; the object takes ownership.
        inputs: names of the inputs to make; input_ids and attention_mask are always included.
        named: special tokens by transformers' names, such as "cls_token".
        padding: replaces the file's padding.
        cut_side: replaces the file's side of truncation.

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
        """Load the tokenizer of a folder.

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
        """The tokenizer itself, without padding."""
        return self._tokenizer

    @property
    def max_length(self) -> int | None:
        """Length in tokens to which a text is truncated; None without truncation."""
        truncation = self._tokenizer.truncation
        return None if truncation is None else int(truncation["max_length"])

    def cut_at(self, max_length: int) -> None:
        """Truncate to a number of tokens, special tokens included; in a pair the longer text first."""
        self._tokenizer.enable_truncation(max_length, strategy="longest_first", direction=self.cut_side)

    def cut_in_windows(self, max_length: int, stride: int) -> None:
        """Read the second text of a pair in windows of a number of tokens, special tokens and first text included.

        Args:
            max_length: tokens of a window.
            stride: tokens of the second text that neighbouring windows share, fewer than half of `max_length`.
        """
        self._tokenizer.enable_truncation(max_length, stride=stride, strategy="only_second", direction="right")

    def encode_windows(self, pairs: Sequence[tuple[str, str]]) -> list[list[TokenizedWindow]]:
        """Tokenize pairs into their windows, after `cut_in_windows`; a first text that is too long loses its end.

        Raises:
            Exception: of the tokenizer, which has no class of its own.
        """
        room = (self.max_length or 0) // 2 - FRAME
        cut = [(self._shortened(first, room), second) for first, second in pairs]
        encodings = self._tokenizer.encode_batch(cut)
        return [[self._window(part) for part in (whole, *whole.overflowing)] for whole in encodings]

    def _shortened(self, text: str, tokens: int) -> str:
        """The beginning of a text that has at most so many tokens."""
        # No token is shorter than a byte, so most texts need not be tokenized for this.
        if len(text.encode()) <= tokens:
            return text
        # Behind an empty text, as the window's settings are of second texts. The first window has more tokens than fit.
        first = self._tokenizer.encode("", text)
        ends = [end for (_, end), part in zip(first.offsets, first.sequence_ids, strict=True) if part == 1]
        return text if len(ends) <= tokens else text[: ends[tokens - 1]]

    def _window(self, encoding: Encoding) -> TokenizedWindow:
        places = zip(encoding.offsets, encoding.sequence_ids, strict=True)
        offsets = [offset if sequence == 1 else (-1, -1) for offset, sequence in places]
        return TokenizedWindow(self._tokenized(encoding, []).inputs, offsets or [(-1, -1)])

    def encode(self, rows: Sequence[Sequence[str]], *, words: bool = False) -> list[TokenizedText]:
        """Tokenize texts independently of each other.

        A text without tokens (an empty text, if there are no special tokens) becomes one padding token that the model
        attends to: models need at least one token.

        Args:
            rows: the texts of each row, one a column, or its words. Texts of later columns are appended to the second
                text of a pair.
            words: whether a row holds words.
        """
        given = [list(row) for row in rows] if words else [segments(row) for row in rows]
        single = [row[0] if len(row) == 1 and not words else row for row in given]
        encodings = self._tokenizer.encode_batch(single, is_pretokenized=words)
        return [self._tokenized(encoding, encoding.word_ids if words else []) for encoding in encodings]

    def pad(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, NDArray[np.int64]]:
        """Pad rows to one batch, each input [B, L] with the L of the longest row."""
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
        """Write tokenizer.json with this tokenizer's truncation and padding."""
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
        SdpError: the result of `error_of`; KeyboardInterrupt and SystemExit are not converted.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise error_of(reason) from error


def segments(texts: Sequence[str]) -> tuple[str, ...]:
    """Join the texts of one, two or more columns to one or two texts."""
    return (texts[0], " ".join(texts[1:])) if len(texts) > 1 else (texts[0],)


def _stored_padding(tokenizer: Tokenizer) -> Padding:
    stored = tokenizer.padding
    if stored is None:
        return Padding()
    return Padding(stored["pad_id"], stored["pad_token"], stored["pad_type_id"], stored["direction"])
