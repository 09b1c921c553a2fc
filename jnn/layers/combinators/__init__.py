"""Layers of layers, and what is known of them as a whole."""
