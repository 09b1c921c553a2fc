"""Programs compiled for devices that need not be here, and weighed."""
