"""A step of ResNet-18 with batch normalisation on small images, against Flax and PyTorch."""

from functools import partial
from typing import Any

import jax
import numpy as np

import jnn
from benchmarks.modern.contest import AUTODIFF, OURS, Contest, with_torch
from benchmarks.peers_layers import flax_network, flax_step, our_step, torch_step
from benchmarks.report import in_mode
from jnn.measure import Program, program
from jnn.text import bytes_text

GOAL = "1.5 times Flax's speed in half its temporaries"
# Of a gradient through many norms float32 keeps so much; new parameters are compared.
TOLERANCE, DEEP, COARSE = 2e-3, 5e-3, 0.3
RATE = 0.1


def contests(quick: bool) -> list[Contest]:
    """The network of the goal, a step of gradient descent."""
    widths, shape = ((4, 8), (2, 8, 8, 3)) if quick else ((64, 128, 256, 512), (64, 32, 32, 3))
    net = jnn.models.resnet(10, widths=widths, norm="batch")
    title = f"ResNet-{2 + 4 * len(widths)} with batch norm, {' x '.join(map(str, shape))}, SGD"
    return [
        Contest(f"{title}, float32", partial(steps_of, net, shape), GOAL, DEEP,
                notes=partial(saved_of, net, shape)),
        Contest(f"{title}, bfloat16", partial(steps_of, net, shape, "bfloat16"), GOAL, COARSE),
    ]  # fmt: skip


def _drawn(net: jnn.Layer, shape: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    """Parameters, state, images, labels; scales are not 1, shifts and biases not 0."""
    random = np.random.default_rng(0)
    x = random.normal(size=shape).astype(np.float32)
    params, state = jax.jit(net.init)(jax.random.key(0), x)

    def moved(a: jax.Array) -> np.ndarray:
        # What a shift does is mostly undone by the next norm: its gradient is a sum that cancels.
        return np.asarray(a) + 0.2 * random.normal(size=a.shape).astype(np.float32) * (a.ndim == 1)

    params = jax.tree.map(moved, params)
    return params, state, x, random.integers(0, 10, shape[0]).astype(np.int32)


def steps_of(net: jnn.Layer, shape: tuple[int, ...], dtype: str = "float32") -> dict[str, Program]:
    drawn = _drawn(net, shape)
    step, args = our_step(net, *drawn, rate=RATE, dtype=dtype)
    found = {OURS: in_mode("backward", step, *args), AUTODIFF: in_mode("autodiff", step, *args)}
    theirs = flax_step(net, *drawn, rate=RATE, dtype=dtype)
    if theirs is not None:
        found["Flax"] = program(theirs[0], *theirs[1])
    return found | with_torch(lambda n: torch_step(net, *drawn, rate=RATE, threads=n, dtype=dtype))


def saved_of(net: jnn.Layer, shape: tuple[int, ...]) -> str:
    """What the forward hands to the backward."""
    params, state, x, _ = _drawn(net, shape)
    ours = jnn.residuals(lambda params: net.apply(params, state, x, train=True)[0], params)
    saved = {OURS: ours.bytes("hand"), AUTODIFF: ours.bytes("autodiff")}
    try:
        apply, theirs, _ = flax_network(net, params, state)
        of_flax = jnn.residuals(lambda params: apply(theirs | {"params": params}, x)[0],
                                theirs["params"])  # fmt: skip
        saved["Flax"] = of_flax.bytes("autodiff")
    except ImportError:
        pass
    return f"Saved: {', '.join(f'{name} {bytes_text(n)}' for name, n in saved.items())}."
