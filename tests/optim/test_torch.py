"""Optimizers that PyTorch has too take its steps; needs the extra `bench`."""

import jax
import numpy as np
import pytest

import jnn
from tests.optim.test_reference import error, problem, trajectory

# PyTorch's AMSGrad takes the largest square before its correction, and its NAdam has a schedule of
# its own for beta1: those two are other methods. Where epsilon stands elsewhere it is 0.
PAIRS = {
    "gd": (jnn.gd(0.05), lambda o: (o.SGD, {})),
    "gd with decay": (
        jnn.chain(jnn.optim.decay(0.3), jnn.gd(0.05)),
        lambda o: (o.SGD, {"weight_decay": 0.3}),
    ),
    "heavy_ball": (jnn.heavy_ball(0.05), lambda o: (o.SGD, {"momentum": 0.9})),
    "momentum": (jnn.momentum(0.05), lambda o: (o.SGD, {"momentum": 0.9})),
    "averaged_momentum": (jnn.averaged_momentum(0.5), lambda o: (o.SGD, {"momentum": 0.9})),
    "nesterov": (jnn.nesterov(0.05), lambda o: (o.SGD, {"momentum": 0.9, "nesterov": True})),
    "adagrad": (
        jnn.adagrad(0.05, average="sum", epsilon=1e-10),
        lambda o: (o.Adagrad, {}),
    ),
    "rmsprop": (jnn.rmsprop(0.05, 0.99), lambda o: (o.RMSprop, {})),
    "rmsprop, centred": (
        jnn.rmsprop(0.05, 0.99, centred=True, momentum=0.5, epsilon=0.0),
        lambda o: (o.RMSprop, {"centered": True, "momentum": 0.5, "eps": 0.0}),
    ),
    "adam": (jnn.adam(0.05), lambda o: (o.Adam, {})),
    "adamw": (jnn.adamw(0.05, decay=0.1), lambda o: (o.AdamW, {"weight_decay": 0.1})),
    "radam": (jnn.radam(0.05, epsilon=0.0), lambda o: (o.RAdam, {"eps": 0.0})),
    "adamax": (jnn.adamax(0.05, epsilon=0.0), lambda o: (o.Adamax, {"eps": 0.0})),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_fifty_steps_are_pytorch_s(name, dtype, tolerance, random):
    torch = pytest.importorskip("torch", reason="PyTorch is a peer: pip install 'jnn[bench]'")
    ours, theirs = PAIRS[name]
    method, settings = theirs(torch.optim)
    with jax.enable_x64(dtype == "float64"):
        grads, start = problem(random, dtype)
        found = trajectory(ours, grads, start)
    params = {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
    optimizer = method(params.values(), lr=0.05, **settings)
    for g in grads:
        for k, p in params.items():
            p.grad = torch.tensor(g[k])
        optimizer.step()
    expected = {k: p.detach().numpy() for k, p in params.items()}
    assert error(jax.tree.map(np.asarray, found), expected) <= tolerance
