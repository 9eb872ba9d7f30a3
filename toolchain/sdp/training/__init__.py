"""Training: one Trainer for dense fine-tuning and for pruning, masked weights, the teacher, and prediction."""
