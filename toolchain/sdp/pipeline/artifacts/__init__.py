"""The JSON files of a run folder as frozen, typed models: one class a file, which knows its stage and its name.

    vocabulary.VocabularyReport    0-vocabulary/vocabulary.json
    vocabulary.KeptPieces          0-vocabulary/old_ids.json
    training.FinetuneMetrics       1-finetune/metrics.json
    pruning.PruneMetrics           2-prune/metrics.json
    pruning.MaskUpdate             2-prune/pruning.jsonl, a line
    analysis.AnalysisReport        2-prune/analysis.json
    comparison.EvaluateMetrics     3-evaluate/metrics.json
    comparison.ExportMetrics       4-export/metrics.json
    rows.ScoredRows                4-export/rows.json
    latency.BenchLatency           5-bench/latency.json
    verdict.GateVerdict            6-gate/verdict.json
    verdict.Measurements           6-gate/measurements.json

A stage makes its models and stores them; a reader loads them. `base.Stored` describes what is checked on the way.
"""
