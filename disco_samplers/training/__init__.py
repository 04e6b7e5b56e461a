"""Training: the stream of targets, the loss and the trainer."""
