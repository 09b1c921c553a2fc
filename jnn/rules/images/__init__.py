"""Images made larger, smaller, or laid out anew."""
