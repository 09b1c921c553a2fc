"""Training: networks and data in, trained parameters out; files of parameters."""

from jnn.train.exchange import load_torch as load_torch
from jnn.train.exchange import save_torch as save_torch
from jnn.train.files import load as load
from jnn.train.files import save as save
