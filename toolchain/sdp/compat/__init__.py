"""Private APIs of libraries, one module a library: nothing else in sdp uses a name that a library keeps for itself.

Each function or class documents why there is no public API, and the release that it was checked with. `PRIVATE` lists
the names, and a test imports every one: a release that lacks one fails there first, with the module to look at.
"""

PRIVATE: dict[str, tuple[str, ...]] = {
    "accelerate": ("accelerate.PartialState._shared_state", "accelerate.utils.constants.FSDP_MODEL_NAME"),
    "datasets": ("datasets.IterableDataset._resolve_features",),
    "torch": (
        "torch._int_mm",
        "torch.cpu._is_vnni_supported",
        "torch.distributed.rendezvous.rendezvous",
    ),
    "transformers": (
        "transformers.AutoModelForSequenceClassification._model_mapping",
        "transformers.PreTrainedModel._init_weights",
        "transformers.Trainer._load_from_checkpoint",
        "transformers.Trainer._save",
        "transformers.Trainer._save_checkpoint",
        "transformers.TrainingArguments._n_gpu",
    ),
}
"""Library -> its private names that `sdp.compat` uses, each with the public path of what holds it."""
