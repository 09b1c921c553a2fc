"""What is known of one compiler, and asked of it nowhere else."""
