"""What every data source gives: splits of texts with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdp.errors import DataError

SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class RawSplit:
    """The rows of one split as their source has them.

    Attributes:
        name: train, dev or test.
        where: the file or data set they are from, for messages.
        texts: one or two strings a row.
        labels: one value a row: a string, an integer or a number.
        languages: one a row; "" where the data has none.
    """

    name: SplitName
    where: str
    texts: tuple[tuple[str, ...], ...]
    labels: tuple[object, ...]
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """The rows of one split, ready for a model.

    Attributes:
        name: train, dev or test.
        texts: one or two strings a row.
        labels: class ids, int64 [N], or scores, float32 [N].
        languages: one a row; "" where the data has none.
    """

    name: SplitName
    texts: tuple[tuple[str, ...], ...]
    labels: NDArray[np.int64] | NDArray[np.float32]
    languages: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class TaskData:
    """All splits of a task; `label_names` is empty for regression."""

    train: Split
    dev: Split
    test: Split | None
    label_names: tuple[str, ...]

    def evaluation(self, split: Literal["test", "dev"] | None) -> Split:
        """The split to evaluate on: the named one, or test where there is one and dev otherwise.

        Raises:
            DataError: test was named and there is none.
        """
        if split == "test" and self.test is None:
            hint = 'Set it to "dev", or add data.test.'
            raise DataError("the data has no test split", where="evaluate.split", hint=hint)
        return self.dev if split == "dev" or self.test is None else self.test
