"""Which implementation computes a product: measured on the shapes that a function really uses."""

from jnn.tuning.choices import Choice as Choice
from jnn.tuning.choices import Choices as Choices
from jnn.tuning.choices import Trial as Trial
from jnn.tuning.record import recorded as recorded
from jnn.tuning.tune import tune as tune
