"""Training on Ray Train: what is read when, by whom; the loop of a worker; checkpoints."""
