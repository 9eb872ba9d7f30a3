"""What pruning does to a network, measured at every pruning step: pure functions, a probe and a recorder."""
