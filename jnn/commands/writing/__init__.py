"""What the commands write: pages, tables, scores."""
