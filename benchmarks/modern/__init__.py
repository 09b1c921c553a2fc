"""Modern rules against Flax, `jax.nn`, PyTorch and autodiff, a file a subject."""
