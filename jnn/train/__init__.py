"""Training: networks and data in, trained parameters out; files of parameters."""

from jnn.store.checkpoints import Checkpoints as Checkpoints
from jnn.store.exchange import load_torch as load_torch
from jnn.store.exchange import save_torch as save_torch
from jnn.store.safetensors import DamagedError as DamagedError
from jnn.store.safetensors import load as load
from jnn.store.safetensors import save as save
from jnn.train.augment import flip as flip
from jnn.train.augment import rotate as rotate
from jnn.train.augment import shift as shift
from jnn.train.fit import Fit as Fit
from jnn.train.fit import fit as fit
from jnn.train.host.history import History as History
from jnn.train.host.loop import Report as Report
from jnn.train.host.progress import Lines as Lines
from jnn.train.host.progress import Progress as Progress
from jnn.train.host.stream import Stream as Stream
from jnn.train.host.stream import prefetch as prefetch
from jnn.train.many import Fits as Fits
from jnn.train.many import fit_many as fit_many
from jnn.train.plan import accuracy as accuracy
from jnn.train.program.precision import Precision as Precision
from jnn.train.program.precision import mixed as mixed
from jnn.train.program.stopping import Patience as Patience
from jnn.train.program.stopping import Still as Still
from jnn.train.program.stopping import patience as patience
from jnn.train.program.stopping import still as still
