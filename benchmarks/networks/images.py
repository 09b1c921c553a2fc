"""A step of ResNet-18 with batch normalisation on small images, against Flax and PyTorch."""

from functools import partial

import jax
import numpy as np

import jnn
from benchmarks.modern.contest import AUTODIFF, OURS, Contest, with_torch
from benchmarks.peers_layers import flax_step, our_step, torch_step
from benchmarks.report import in_mode
from jnn.measure import Program, program

GOAL = "1.5 times Flax's speed in half its temporaries"
# Of a gradient through many norms float32 keeps so much; new parameters are compared.
TOLERANCE = 3e-3
RATE = 0.01


def contests(quick: bool) -> list[Contest]:
    """The network of the goal, a step of gradient descent."""
    widths, shape = ((4, 8), (2, 8, 8, 3)) if quick else ((64, 128, 256, 512), (64, 32, 32, 3))
    title = f"ResNet-{2 + 4 * len(widths)} with batch norm, {' x '.join(map(str, shape))}, SGD"
    return [Contest(title, partial(_contenders, widths, shape), GOAL, TOLERANCE)]


def _contenders(widths: tuple[int, ...], shape: tuple[int, ...]) -> dict[str, Program]:
    random = np.random.default_rng(0)
    net = jnn.models.resnet(10, widths=widths, norm="batch", weights=jnn.initialisers.he_normal)
    x = random.normal(size=shape).astype(np.float32)
    params, state = jax.jit(net.init)(jax.random.key(0), x)
    drawn = params, state, x, random.integers(0, 10, shape[0]).astype(np.int32)
    step, args = our_step(net, *drawn, rate=RATE)
    found = {OURS: in_mode("backward", step, *args), AUTODIFF: in_mode("autodiff", step, *args)}
    if theirs := flax_step(net, *drawn, rate=RATE):
        found["Flax"] = program(theirs[0], *theirs[1])
    return found | with_torch(lambda n: torch_step(net, *drawn, rate=RATE, threads=n))
