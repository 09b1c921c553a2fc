"""A function by hand beside what JAX makes of its definitions."""
