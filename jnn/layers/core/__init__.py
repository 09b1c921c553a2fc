"""What a layer is, and how its parameters are drawn."""
