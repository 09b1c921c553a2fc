"""Pooling and sub-sampling."""
