"""Training: networks and data in, trained parameters out; files of parameters."""

from jnn.train.augment import flip as flip
from jnn.train.augment import rotate as rotate
from jnn.train.augment import shift as shift
from jnn.train.checkpoints import Checkpoints as Checkpoints
from jnn.train.exchange import load_torch as load_torch
from jnn.train.exchange import save_torch as save_torch
from jnn.train.files import DamagedError as DamagedError
from jnn.train.files import load as load
from jnn.train.files import save as save
from jnn.train.fit import Fit as Fit
from jnn.train.fit import fit as fit
from jnn.train.history import History as History
from jnn.train.loop import Report as Report
from jnn.train.many import Fits as Fits
from jnn.train.many import fit_many as fit_many
from jnn.train.plan import accuracy as accuracy
from jnn.train.precision import Precision as Precision
from jnn.train.precision import mixed as mixed
from jnn.train.progress import Lines as Lines
from jnn.train.progress import Progress as Progress
from jnn.train.stopping import Patience as Patience
from jnn.train.stopping import Still as Still
from jnn.train.stopping import patience as patience
from jnn.train.stopping import still as still
from jnn.train.stream import Stream as Stream
from jnn.train.stream import prefetch as prefetch
