"""Layers of attention, and positions for it."""
