"""What is kept in files: arrays, checkpoints, trained networks, and exchange with PyTorch."""
