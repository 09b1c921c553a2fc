"""What a rule is, who differentiates it, and how its products are computed."""
