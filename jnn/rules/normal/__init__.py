"""Normalisation: of channels over a batch, of rows, of groups of channels; and fused."""
