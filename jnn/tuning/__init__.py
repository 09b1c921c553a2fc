"""Which implementation computes a product: measured on the shapes that a function really uses."""

from jnn.rules.convolution.work_size import WorkSize as WorkSize
from jnn.rules.convolution.work_size import naive_accesses as naive_accesses
from jnn.rules.convolution.work_size import tiled_accesses as tiled_accesses
from jnn.rules.convolution.work_size import work_size as work_size
from jnn.tuning.choices import Choice as Choice
from jnn.tuning.choices import Choices as Choices
from jnn.tuning.choices import Trial as Trial
from jnn.tuning.record import recorded as recorded
from jnn.tuning.tune import tune as tune
