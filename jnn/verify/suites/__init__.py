"""The suites of `check`, one a file."""
