"""What the commands read: sources, names, options."""
