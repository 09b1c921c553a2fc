"""Data sets as NumPy arrays: images are (samples, height, width, channels), labels are integers."""

from jnn.data.digits import Digits as Digits
from jnn.data.digits import Samples as Samples
from jnn.data.digits import digits as digits
