"""Pruning: how many weights and when (`schedule`), which (`criteria`, `masks`), and what that does (`analysis`)."""
