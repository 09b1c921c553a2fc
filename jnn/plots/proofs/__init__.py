"""Pictures of checks, comparisons and difference tests."""
