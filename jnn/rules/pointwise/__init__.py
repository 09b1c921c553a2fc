"""Rules that work entry by entry."""
