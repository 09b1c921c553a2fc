"""Gates, and the network of two layers with one between: NumPy, PyTorch, planted errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import jnn
from jnn.rules import gated, gated_mlp
from jnn.rules.core import chunks
from jnn.rules.linear import gated_mlp as module
from jnn.rules.pointwise import gated as gates

TORCH = {
    "silu": lambda f, x: f.silu(x),
    "gelu": lambda f, x: f.gelu(x),
    "sigmoid": lambda f, x: f.sigmoid(x),
    "relu": lambda f, x: f.relu(x),
    "tanh": lambda f, x: f.tanh(x),
    "softplus": lambda f, x: f.softplus(x),
    "identity": lambda f, x: x,
}


def drawn(*shapes, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=shape) for shape in shapes]


def of_mlp(rows=(3, 5), n=4, hidden=6, m=2, biases=True, seed=0):
    shapes = (*rows, n), (n, hidden), (n, hidden), (hidden, m), (hidden,), (hidden,), (m,)
    return drawn(*shapes[: None if biases else 4], seed=seed)


def test_values_by_loops_over_entries():
    """SwiGLU one number at a time, with its derivative by the chain rule (M-82..85)."""
    gate, up, delta = drawn((2, 3), (2, 3), (2, 3))
    with jax.enable_x64(True):
        y, pull = jax.vjp(gated, gate, up)
        dgate, dup = pull(jnp.asarray(delta))
    for i in np.ndindex(2, 3):
        s = 1 / (1 + np.exp(-gate[i]))
        np.testing.assert_allclose(y[i], gate[i] * s * up[i], rtol=1e-14)
        slope = s + gate[i] * s * (1 - s)
        np.testing.assert_allclose(dgate[i], slope * up[i] * delta[i], rtol=1e-13)
        np.testing.assert_allclose(dup[i], gate[i] * s * delta[i], rtol=1e-14)


@pytest.mark.parametrize("activation", TORCH)
def test_gates_of_pytorch(activation):
    torch = pytest.importorskip("torch", reason="PyTorch is the second opinion")
    arrays = gate, up, delta = drawn((4, 5), (4, 5), (4, 5))
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    theirs = TORCH[activation](torch.nn.functional, tensors[0]) * tensors[1]
    theirs.backward(tensors[2].detach())
    with jax.enable_x64(True):
        y, pull = jax.vjp(lambda *args: gated(*args, activation=activation), gate, up)
        grads = pull(jnp.asarray(delta))
    np.testing.assert_allclose(y, theirs.detach(), rtol=1e-9, atol=1e-12)
    for ours, tensor in zip(grads, tensors, strict=False):
        np.testing.assert_allclose(ours, tensor.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 4, 512])
def test_the_network_of_pytorch(rows, monkeypatch):
    """M-86..89, whole and over chunks of rows, with a chunk that is not full."""
    torch = pytest.importorskip("torch", reason="PyTorch is the second opinion")
    monkeypatch.setattr(module, "ROWS", rows)
    monkeypatch.setattr(chunks, "CACHE", 1)
    arrays = of_mlp((3, 5))
    (delta,) = drawn((3, 5, 2), seed=1)
    x, wg, wu, wd, bg, bu, bd = tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    theirs = (torch.nn.functional.silu(x @ wg + bg) * (x @ wu + bu)) @ wd + bd
    theirs.backward(torch.tensor(delta))
    with jax.enable_x64(True):
        y, pull = jax.vjp(gated_mlp, *arrays)
        grads = pull(jnp.asarray(delta))
    np.testing.assert_allclose(y, theirs.detach(), rtol=1e-9, atol=1e-12)
    for ours, tensor in zip(grads, tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [3, 4, 6])
def test_chunks_change_nothing(rows, monkeypatch):
    """Values, gradients, tangents and second derivatives; 12 rows in 4, 3 and 2 chunks."""
    args = of_mlp((12,))

    def told(*args):
        def loss(*args):
            return jnp.sum(jnp.sin(gated_mlp(*args)))

        grads = jax.grad(loss, range(7))(*args)
        bent = jax.grad(lambda *args: sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1, 3))(*args)),
                        (0, 2, 3))(*args)  # fmt: skip
        with jnn.derivatives("forward"):
            pushed = jax.jvp(gated_mlp, args, args)
        return gated_mlp(*args), grads, bent, pushed

    with jax.enable_x64(True):
        args = [jnp.asarray(a) for a in args]
        whole = told(*args)
        monkeypatch.setattr(module, "ROWS", rows)
        monkeypatch.setattr(chunks, "CACHE", 1)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
                     told(*args), whole)  # fmt: skip


def test_a_chunked_network_on_eight_devices(monkeypatch):
    """Under shard_map the weights' gradients are summed over devices."""
    monkeypatch.setattr(module, "ROWS", 1)
    monkeypatch.setattr(chunks, "CACHE", 1)
    x, *w = [jnp.asarray(a, jnp.float32) for a in of_mlp((16,), biases=False)]
    mesh = jax.make_mesh((8,), ("devices",), (AxisType.Auto,))
    split, whole = PartitionSpec("devices"), PartitionSpec()

    def grads(x, *w):
        return jax.grad(lambda *args: (gated_mlp(*args) ** 2).sum(), range(4))(x, *w)

    spread = jax.jit(jax.shard_map(grads, mesh=mesh, in_specs=(split, whole, whole, whole),
                                   out_specs=(split, whole, whole, whole)))  # fmt: skip
    for got, want in zip(spread(x, *w), grads(x, *w), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_sums_in_float32(dtype, monkeypatch):
    """4096 rows whose weight gradients a half-precision sum would lose, in one chunk and in 16."""
    x = jnp.ones((4096, 1), dtype)
    w = jnp.ones((1, 1), dtype)
    for rows in (4096, 256):
        monkeypatch.setattr(module, "ROWS", rows)
        monkeypatch.setattr(chunks, "CACHE", 1)
        grad = jax.grad(
            lambda w: gated_mlp(x, w, w, w / 4, activation="identity").astype(jnp.float32).sum()
        )
        assert grad(w).item() == 3 * 1024


def test_hidden_tensors_are_two():
    """Without a chunk's loop in the way: gate and up, where autodiff keeps twice as many."""
    args = [jnp.asarray(a, jnp.float32) for a in of_mlp((256,), 16, 64, 8)]
    hidden = [r for r in jnn.residuals(gated_mlp, *args).hand if r.kind != "input"]
    assert [r.shape for r in hidden] == [(256, 64), (256, 64)]


def test_an_activation_of_ones_own():
    @jnn.rule
    def square(x):
        return x * x

    jnn.rules.elementwise(square, saves="x")(lambda x, v: 2 * x * v)
    x = jnp.array([1.0, 2.0])
    assert gated(x, x, activation=square).tolist() == [1.0, 8.0]
    grads = jax.grad(lambda g, u: gated(g, u, activation=square).sum(), (0, 1))(x, x)
    assert [g.tolist() for g in grads] == [[2.0, 8.0], [1.0, 4.0]]


def test_vmap_over_networks():
    x, *w = (jnp.asarray(a, jnp.float32) for a in of_mlp((5,), biases=False))
    many = [jnp.stack([a, 2 * a, -a]) for a in w]
    got = jax.vmap(jax.grad(lambda x, *w: gated_mlp(x, *w).sum()), (None, 0, 0, 0))(x, *many)
    for i in range(3):
        want = jax.grad(lambda x, *w: gated_mlp(x, *w).sum())(x, *(a[i] for a in many))
        np.testing.assert_allclose(got[i], want, rtol=2e-5)


def test_bad_input_says_what_is_wrong():
    x, w = jnp.ones((4, 2)), jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"gated: `up` must be of shape \(4, 2\), got .*one shape"):
        gated(x, x.T)
    with pytest.raises(TypeError, match="gated: `up` must be of the dtype of `gate`"):
        gated(x, x.astype(jnp.float16))
    with pytest.raises(ValueError, match="gated: `activation` must be one of"):
        gated(x, x, activation="swish")
    with pytest.raises(ValueError, match=r"gated_mlp: `x` must be of shape \(..., 2\)"):
        gated_mlp(x.T, w, w, w.T)
    with pytest.raises(ValueError, match=r"gated_mlp: `w_down` must be of shape \(3, m\)"):
        gated_mlp(x, w, w, w)
    with pytest.raises(ValueError, match=r"gated_mlp: `b_up` must be of shape \(3,\)"):
        gated_mlp(x, w, w, w.T, None, jnp.ones(2))


def slope_forgotten(saved, delta, *, activation):
    _, up = saved
    return up * delta, gates.gated_backward(saved, delta, activation=activation)[1]


def sides_swapped(saved, delta, *, activation):
    return gates.gated_backward(saved, delta, activation=activation)[::-1]


def up_not_activated(saved, delta, *, activation):
    gate, _ = saved
    return gates.gated_backward(saved, delta, activation=activation)[0], gate * delta


def slope_of_silu_alone(saved, delta, *, activation):
    del activation  # What a kernel written for SwiGLU does with every other gate.
    return gates.gated_backward(saved, delta, activation="silu")


def slope_by_output(saved, delta, *, activation):
    """Sigmoid's slope of the activated gate instead of the gate, as if the output were saved."""
    gate, up = saved
    s = jax.nn.sigmoid(jax.nn.silu(gate))
    return s * (1 + gate * (1 - s)) * up * delta, gates.gated_backward(
        saved, delta, activation=activation
    )[1]


WRONG = [slope_forgotten, sides_swapped, up_not_activated, slope_of_silu_alone, slope_by_output]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda f: f.__name__)
def test_planted_errors_of_a_gate_are_found(wrong):
    assert not jnn.verify.check(gated.replace(backward=wrong), suites=["agreement"]).ok


def told(saved, delta, activation):
    return module.gated_mlp_backward(saved, delta, activation=activation)


def by_way_of_the_gate_alone(saved, delta, *, activation):
    """One of the two terms of dx, in which alone w_up takes part."""
    x, w_gate, w_up, *rest = saved
    return told((x, w_gate, 0 * w_up, *rest), delta, activation)


def changed(change):
    return lambda saved, delta, *, activation: change(*told(saved, delta, activation))


PLANTED = {
    "dx by way of the gate alone": by_way_of_the_gate_alone,
    "weights of gate and up swapped": changed(lambda dx, g, u, *d: (dx, u, g, *d)),
    "biases of gate and up swapped": changed(lambda *d: (*d[:4], d[5], d[4], d[6])),
    "a mean over rows instead of a sum": changed(lambda dx, g, *d: (dx, g / 2, *d)),
    "no gradient of the bias behind": changed(lambda *d: (*d[:6], 0 * d[6])),
}


@pytest.mark.parametrize("wrong", PLANTED.values(), ids=PLANTED)
def test_planted_errors_of_the_network_are_found(wrong):
    assert not jnn.verify.check(gated_mlp.replace(backward=wrong), suites=["agreement"]).ok


def test_the_backward_itself_passes():
    same = gated_mlp.replace(backward=changed(lambda *d: d))
    assert jnn.verify.check(same, suites=["agreement"]).ok
