"""Data sets as NumPy arrays: images are (samples, height, width, channels), labels are integers."""

from jnn.data.digits import Digits as Digits
from jnn.data.digits import Samples as Samples
from jnn.data.digits import digits as digits
from jnn.data.idx import idx as idx
from jnn.data.idx import mnist as mnist
from jnn.data.prepare import Scale as Scale
from jnn.data.prepare import Split as Split
from jnn.data.prepare import batches as batches
from jnn.data.prepare import one_hot as one_hot
from jnn.data.prepare import split as split
from jnn.data.prepare import standardise as standardise
from jnn.data.synthetic import Points as Points
from jnn.data.synthetic import Regression as Regression
from jnn.data.synthetic import circles as circles
from jnn.data.synthetic import over_fitting as over_fitting
from jnn.data.synthetic import spirals as spirals
from jnn.data.synthetic import two_moons as two_moons
from jnn.data.synthetic import xor as xor
from jnn.data.tables import Table as Table
from jnn.data.tables import csv as csv
from jnn.data.tables import npz as npz
