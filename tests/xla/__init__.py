"""Tests of what is known of XLA."""
