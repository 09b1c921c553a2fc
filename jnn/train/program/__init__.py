"""The compiled part of training: pure functions of arrays."""
