"""What takes networks apart, and the models that teach."""
