"""Training: one Trainer for dense fine-tuning and for pruning, the teacher, and prediction."""
