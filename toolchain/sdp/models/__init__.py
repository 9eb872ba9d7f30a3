"""Pretrained encoders: where they are (`source`), what they weigh (`parts`), their trained heads (`head`), and as torch
modules (`load`)."""
