"""The commands of `python -m jnn`: each module has `configure(parser)` and `run(options)`."""
