"""Hedberg's ideas (section 8): to study, not to start from."""
