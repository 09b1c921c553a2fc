"""Networks of attention: language models and what they write, encoders, images in patches."""
