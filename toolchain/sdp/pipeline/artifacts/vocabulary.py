"""The files of the vocabulary stage: what the kept pieces cover, and which they are."""

from __future__ import annotations

from sdp.pipeline.artifacts.base import Artifact, Count, NotNegative, Share, Stored


class BeforeAfter(Stored):
    """A rate with the whole vocabulary, and with the kept pieces; None without words."""

    before: float | None
    after: float | None


class CoverageReport(Stored):
    """The coverage of some texts by the kept pieces: shares of words and pieces, rates of unknown and of all pieces."""

    words: NotNegative
    same_words: Share | None
    kept_pieces: Share | None
    unknown_per_1000: BeforeAfter
    pieces_per_word: BeforeAfter


class TrimmedVocabulary(Stored):
    """A vocabulary before and after trimming, and what it covers of held-out texts, in all and by language."""

    kind: str
    pieces_before: Count
    pieces_after: Count
    pieces_used: NotNegative
    texts: dict[str, NotNegative]
    counted_texts: NotNegative
    held_out_texts: NotNegative
    coverage: CoverageReport
    parts: dict[str, CoverageReport]


class VocabularyReport(TrimmedVocabulary, Artifact):
    """A trimmed vocabulary, and the bytes that it saves as dense float32."""

    STAGE = "vocabulary"
    FILE = "vocabulary.json"

    removed_bytes: int


class KeptPieces(Artifact):
    """New id -> old id of every kept piece, and the hashes of the model that they are from."""

    STAGE = "vocabulary"
    FILE = "old_ids.json"

    old_ids: tuple[NotNegative, ...]
    source: dict[str, str]
