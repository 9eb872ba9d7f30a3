"""Training: one Trainer for dense fine-tuning and, by hooks and another objective, for pruning."""
