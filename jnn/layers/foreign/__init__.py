"""Doors for modules of other libraries, which are imported when a door is opened."""
