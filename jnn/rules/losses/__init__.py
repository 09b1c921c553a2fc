"""Losses, and the softmax that some of them contain."""
