"""Benchmarks: `python -m benchmarks.rules`, `benchmarks.mlp`, `benchmarks.fused`, `benchmarks.cnn`.

Each checks its candidates against each other before it races them, prints a table and writes it to
benchmarks/results/. Timings mean something on a machine that does nothing else.
"""
