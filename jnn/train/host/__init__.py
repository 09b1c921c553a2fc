"""The part of training that runs in Python: the loop, streams, progress."""
