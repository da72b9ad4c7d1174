"""What the training of any model shares: optimizers, schedule, lanes, sums over processes."""
