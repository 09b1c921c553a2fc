"""Benchmarks: `python -m benchmarks.NAME` for rules, mlp, fused, cnn, maps.

Each checks its candidates against each other before it races them, prints a table and writes it to
benchmarks/results/. Timings mean something on a machine that does nothing else.
"""
