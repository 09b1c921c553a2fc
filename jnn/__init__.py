"""jnn: neural networks in JAX in which every derivative is written by hand."""

from jnn import data as data
from jnn import rules as rules
from jnn.rules.mode import autodiff as autodiff
from jnn.rules.mode import derivatives as derivatives
from jnn.rules.rule import rule as rule
