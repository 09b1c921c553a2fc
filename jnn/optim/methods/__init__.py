"""The optimizers, a family a file."""
