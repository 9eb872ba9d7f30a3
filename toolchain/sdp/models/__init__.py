"""Pretrained encoders: where they are (`source`), what they weigh (`parts`), and as torch modules (`load`)."""
