"""Pretrained encoders: their files (`source`), parameter counts (`parts`), trained heads (`head`), and torch modules
(`load`)."""
