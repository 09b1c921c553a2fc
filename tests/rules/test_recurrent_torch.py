"""LSTM and GRU against PyTorch in float64: values, all gradients, both directions, to 1e-9."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jnn.rules import registry
from tests.rules.recurrences import arguments

torch = pytest.importorskip("torch", reason="PyTorch is of the extra `bench`")


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("keep", [None, 3])
@pytest.mark.parametrize("states", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_weights_convert_by_transposing(random, name, keep, states, reverse):
    """Of a bidirectional network of PyTorch the half that reads in this direction."""
    args = arguments(random, name, time=7, states=states)
    x, w, r, *rest = args
    biases, start = (rest[:1], rest[1:]) if name == "lstm" else (rest[:2], rest[2:])
    with jax.enable_x64(True):
        arrays = [a for a in args if a is not None]

        def call(*arrays):
            full = (*arrays[: 3 + len(biases)], *(arrays[3 + len(biases) :] or [None] * len(start)))
            y, end = registry[name](*full, reverse=reverse, keep=keep)
            return [y, *jax.tree.leaves(end)]

        ys, pull = jax.vjp(call, *map(jnp.asarray, arrays))
        delta = [random.normal(size=y.shape) for y in ys]
        got = pull(list(map(jnp.asarray, delta)))

    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name]
    net = kind(*w.shape[:1], len(r), batch_first=True, bidirectional=True, dtype=torch.float64)
    end = "l0_reverse" if reverse else "l0"
    with torch.no_grad():
        getattr(net, f"weight_ih_{end}").copy_(torch.tensor(w.T))
        getattr(net, f"weight_hh_{end}").copy_(torch.tensor(r.T))
        getattr(net, f"bias_ih_{end}").copy_(torch.tensor(biases[0]))
        other = biases[1] if name == "gru" else np.zeros_like(biases[0])
        getattr(net, f"bias_hh_{end}").copy_(torch.tensor(other))
    tx = torch.tensor(x, requires_grad=True)
    leaves = [torch.tensor(s, requires_grad=True) for s in start] if states else []
    both = [torch.stack([s, s]) for s in leaves]
    given = None if not states else tuple(both) if name == "lstm" else both[0]
    y, last = net(tx, given)
    half = slice(len(r), None) if reverse else slice(0, len(r))
    lasts = [s[int(reverse)] for s in (last if name == "lstm" else [last])]
    theirs = [y[..., half], *lasts]
    torch.autograd.backward(theirs, list(map(torch.tensor, delta)))
    kinds = ["weight_ih", "weight_hh", "bias_ih", *(["bias_hh"] if name == "gru" else [])]
    grads = [getattr(net, f"{kind}_{end}").grad for kind in kinds]
    grads = [g.T if g.ndim == 2 else g for g in grads]
    grads = [tx.grad, *grads, *(leaf.grad for leaf in leaves)]
    for ours, other in zip([*ys, *got], [*(t.detach() for t in theirs), *grads], strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-12)
