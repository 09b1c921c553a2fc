"""Builds the guide and the reference of all public names as HTML pages: `python -m docs.site`."""
