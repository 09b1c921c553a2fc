"""Ways to compute the products of attention; importing this makes all of them known."""

from jnn.rules.attention.ways import blocks as blocks
