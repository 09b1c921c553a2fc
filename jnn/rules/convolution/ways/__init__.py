"""Ways to compute the products of a convolution; importing this makes all of them known."""

from jnn.rules.convolution.ways import fourier as fourier
from jnn.rules.convolution.ways import patches as patches
from jnn.rules.convolution.ways import phases as phases
from jnn.rules.convolution.ways import shifted as shifted
from jnn.rules.convolution.ways import winograd as winograd
