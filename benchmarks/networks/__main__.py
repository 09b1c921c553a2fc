"""Training steps of whole networks: a language model, a residual network, an LSTM.

    python -m benchmarks.networks [SUBJECT ...] [--quick] [--seconds S] [--cpu-time] [--out FILE]

Each contender begins from equal weights and makes the same step; before they are timed, losses and
gradients are compared. "jnn takes 0.50" of a contender: half its time.
"""

import sys

from benchmarks import networks
from benchmarks.modern.__main__ import hold

if __name__ == "__main__":
    sys.exit(hold(networks, __doc__, "Networks"))
