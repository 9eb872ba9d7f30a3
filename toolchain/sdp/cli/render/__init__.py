"""Output of the commands: plans, summaries, models, shipped folders."""
