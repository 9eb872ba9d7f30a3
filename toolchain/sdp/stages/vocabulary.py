"""Stage 0, in recipes with [vocabulary]: trim the pretrained model's vocabulary. All later stages read the result.

Writes safetensors, config.json and the tokenizer (a transformers folder), old_ids.json (new id -> old id), and
vocabulary.json with what the kept pieces cover of the texts that were held out, and the bytes saved as dense float32.
"""

from __future__ import annotations

from sdp.data.corpus import corpus_rows, few_texts_lines, read_corpus
from sdp.data.load import load_task_data
from sdp.errors import RecipeError
from sdp.models.parts import count_parts
from sdp.models.source import ModelFolder, locate_model
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.artifacts.vocabulary import VocabularyReport
from sdp.pipeline.context import StageContext
from sdp.vocabulary.trim import trim_model

FLOAT_BYTES = 4


def run(context: StageContext) -> StageResult:
    """Choose pieces by the corpus, trim tokenizer and embeddings, and measure the coverage of held-out texts."""
    recipe, target, reporter = context.recipe, context.target, context.reporter
    section = recipe.vocabulary
    if section is None:
        raise RecipeError("the recipe has no [vocabulary]")
    folder = locate_model(recipe.model)
    if section.corpus is None:
        data = load_task_data(recipe)
        corpus = read_corpus(recipe, section, corpus_rows(recipe, data))
    else:
        corpus = read_corpus(recipe, section, ())
    counted, held_out = (sum(map(len, texts.values())) for texts in (corpus.counted, corpus.held_out))
    reporter.line(f"  choosing pieces by {counted:,} texts, judging them by {held_out:,}")
    for warning in few_texts_lines(corpus.counts):
        reporter.line(f"  warning: {warning}")
    remote_code = recipe.model.trust_remote_code
    report = trim_model(folder, target, corpus, section.size, trust_remote_code=remote_code)
    sizes = [count_parts(model).total * FLOAT_BYTES for model in (folder, ModelFolder(folder.name, target))]
    VocabularyReport(**report.given(), removed_bytes=sizes[0] - sizes[1]).store(target)
    return {"pieces": report.pieces_after, "words as before": report.coverage.same_words}
