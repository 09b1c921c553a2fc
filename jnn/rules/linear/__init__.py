"""Affine maps, residual steps, radial functions and penalties."""
