"""The gate: thresholds against measured values, each with its interval: pass, fail or inconclusive."""
