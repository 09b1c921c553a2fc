"""Training steps of whole networks against Flax with optax, and PyTorch, a file a network."""
