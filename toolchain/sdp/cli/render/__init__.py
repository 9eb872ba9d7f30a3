"""What commands print: plans, summaries, models, shipped folders."""
