"""The loss of an affine map without its logits: NumPy, chunks, ignored rows, planted errors."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jnn
from jnn.rules.core import chunks
from jnn.rules.losses import linear_entropy, softmax_entropy
from jnn.verify import check

REDUCTIONS = ["mean", "sum", "none"]


def draw(random, n=7, features=3, classes=5):
    x, w = random.normal(size=(n, features)), random.normal(size=(features, classes))
    t = random.integers(0, classes, n)
    return x, w, t, random.normal(size=classes), random.uniform(0.5, 2, classes)


def written_out(x, w, t, b, c, v, smoothing, ignore):
    """Loss a row, and the gradients with cotangents v, row by row."""
    n = w.shape[1]
    y, dx, dw, db, dc = [], np.zeros_like(x), 0 * w, 0 * b, 0 * c
    for r in range(len(x)):
        if t[r] == ignore:
            y.append(0.0)
            continue
        q = (1 - smoothing) * np.eye(n)[t[r]] + smoothing / n
        log_p = scipy.special.log_softmax(x[r] @ w + b)
        y.append(-(c * q * log_p).sum())
        g = v[r] * (np.exp(log_p) * (c * q).sum() - c * q)
        dx[r] = w @ g
        dw, db, dc = dw + np.outer(x[r], g), db + g, dc - v[r] * q * log_p
    return np.array(y), dx, dw, db, dc


@pytest.mark.parametrize("mode", ["backward", "forward"])
@pytest.mark.parametrize("ignore", [None, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_value_and_gradients_written_out(reduction, smoothing, ignore, mode, random):
    """M-70..74, with biases and weights of classes."""
    x, w, t, b, c = draw(random)
    t[:2] = 2
    counts = np.where(t == ignore, 0.0, c[t])
    divisor = counts.sum() if reduction == "mean" else 1.0
    v = random.normal(size=7) if reduction == "none" else np.full(7, 1.3 / divisor)
    y, *want = written_out(x, w, t, b, c, v, smoothing, ignore)

    def loss(x, w, b, c):
        return jnn.linear_cross_entropy(
            x, w, t, b, c, reduction=reduction, smoothing=smoothing, ignore=ignore
        )

    with jax.enable_x64(True), jnn.derivatives(mode):
        value, pull = jax.vjp(loss, x, w, b, c)
        got = pull(jnp.asarray(v if reduction == "none" else 1.3))
    np.testing.assert_allclose(value, y if reduction == "none" else y.sum() / divisor, rtol=1e-12)
    if reduction == "mean":  # The divisor is of the weights too.
        number = np.bincount(t[t != ignore], minlength=5)
        want[3] = want[3] - 1.3 * y.sum() / divisor**2 * number
    for a, e in zip(got, want, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("ignore", [None, -1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_chunks_of_rows_add_up(reduction, ignore, random, monkeypatch):
    """Chunks of 4 of 19 rows, the last of 3, give what whole logits give; some chunks are empty.

    Rows have weights too; what weighs 0 is not read.
    """
    monkeypatch.setattr(linear_entropy, "ROWS", 4)
    monkeypatch.setattr(chunks, "CACHE", 1)
    x, w, t, b, c = draw(random, 19)
    if ignore is not None:
        t[::3] = ignore
        x[0] = np.nan
    r = random.uniform(0.5, 2, 19) * (np.arange(19) % 5 > 0)
    x[5], told = np.nan, t.copy()
    t[10] = 99
    with jax.enable_x64(True):

        def fused(x, w, b, c, r):
            y = jnn.linear_cross_entropy(x, w, t, b, c, r, reduction=reduction, ignore=ignore)
            return (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum()

        def whole(x, w, b, c, r):
            x = jnp.where(((told == ignore) | (r == 0))[:, None], 0, x)
            z = x @ w + jnp.broadcast_to(b, (19, 5))
            y = jnn.softmax_cross_entropy(z, told, c, ignore=ignore)
            y = jnp.where(r == 0, 0, r * y)
            if reduction == "mean":
                counts = jnp.where((told == ignore) | (r == 0), 0, c[told] * r).sum()
            y = {"none": y, "sum": y.sum()}.get(reduction, y.sum() / (
                counts if reduction == "mean" else 1))  # fmt: skip
            return (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum()

        arguments = (0, 1, 2, 3, 4)
        got = jax.jit(jax.value_and_grad(fused, arguments))(x, w, b, c, r)
        want = jax.value_and_grad(whole, arguments)(x, w, b, c, r)
        for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_logits_are_never_whole_and_the_value_takes_one_product(reduction, random):
    x, w = jnp.ones((4096, 8)), jnp.ones((8, 2048))
    t = jnp.zeros(4096, int)

    r = jnp.asarray(random.uniform(size=4096), jnp.float32)

    def loss(x, w):
        return jnn.linear_cross_entropy(x, w, t, None, None, r, reduction=reduction).sum()

    text = jax.jit(loss).lower(x, w).compile().as_text() or ""
    assert len(re.findall(r"= \S+ dot\(", text)) == 1
    grown = jax.jit(jax.grad(loss, (0, 1))).lower(x, w).compile().as_text() or ""
    assert len(re.findall(r"= \S+ dot\(", grown)) == (4 if reduction == "none" else 3)
    for program in (text, grown):
        assert not re.search(r"\[4096,2048\]", program)


def test_rows_that_are_ignored_have_no_part(random):
    x, w, t, *_ = draw(random)
    t[:3] = -1
    x[:3] = np.nan
    for reduction in REDUCTIONS:
        loss = lambda x, w, r=reduction: jnn.linear_cross_entropy(  # noqa: E731
            x, w, t, reduction=r, ignore=-1
        ).sum()
        dx, dw = jax.grad(loss, (0, 1))(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32))
        assert (dx[:3] == 0).all()
        assert jnp.isfinite(dw).all()
    nobody = jnp.full(7, -1)
    value, dx = jax.value_and_grad(jnn.linear_cross_entropy)(
        jnp.ones((7, 3)), jnp.ones((3, 5)), nobody, ignore=-1
    )
    assert value == 0
    assert (dx == 0).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_label_that_names_no_class_gives_nan(reduction):
    y = jnn.linear_cross_entropy(
        jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.array([1, 4]), reduction=reduction
    )
    assert jnp.isnan(y).sum() == 1


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_sums_in_float32_and_keeps_small_gradients(dtype):
    n = 6000
    x, w, t = jnp.ones((n, 1), dtype), jnp.zeros((1, 2), dtype), jnp.zeros(n, int)
    value, (dx, dw) = jax.value_and_grad(
        lambda x, w: jnn.linear_cross_entropy(x, w, t), (0, 1)
    )(x, w)  # fmt: skip
    eps = float(jnp.finfo(dtype).eps)
    assert (value.dtype, dx.dtype, dw.dtype) == (jnp.float32, dtype, dtype)
    np.testing.assert_allclose(float(value), np.log(2), rtol=eps)
    np.testing.assert_allclose(dw.astype(float), [[-0.5, 0.5]], rtol=eps)


def test_data_on_eight_devices(random):
    x, w, t, *_ = draw(random, 16)
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    with jax.enable_x64(True):
        step = jax.jit(jax.value_and_grad(jnn.linear_cross_entropy, (0, 1)))
        want = step(x, w, t)
        got = step(jax.device_put(x, rows), jnp.asarray(w), jax.device_put(t, rows))
        for a, e in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-12)


# Errors that a check must find.

backward = jnn.linear_cross_entropy.parts.backward


def without_delta(saved, delta, *, reduction, **settings):
    return backward(saved, jnp.ones_like(delta), reduction=reduction, **settings)


def without_bias(saved, delta, **settings):
    dx, dw, _, db, dc, dr = backward(saved, delta, **settings)
    return dx, dw, None, None if db is None else 0 * db, dc, dr


def without_the_mean(saved, delta, **settings):
    *others, dr = backward(saved, delta, **settings)
    return *others, None if dr is None or settings["reduction"] != "mean" else dr + delta


@pytest.mark.parametrize(
    "wrong", [without_delta, without_bias, without_the_mean], ids=lambda f: f.__name__
)
def test_a_wrong_backward_is_rejected(wrong):
    assert not check(jnn.linear_cross_entropy.replace(backward=wrong), suites=["agreement"]).ok


def planted(monkeypatch, error):
    slopes, divisor = softmax_entropy.slopes, linear_entropy._divisor
    if error == "a label one off":
        monkeypatch.setattr(
            softmax_entropy, "slopes",
            lambda x, t, *rest: slopes(x, (t + 1) % x.shape[-1], *rest),
        )  # fmt: skip
    elif error == "no smoothing in the gradient":
        monkeypatch.setattr(
            softmax_entropy, "slopes",
            lambda x, t, c, m, o, smoothing, ignore: slopes(x, t, c, m, o, 0.0, ignore),
        )  # fmt: skip
    elif error == "ignored rows counted in the mean":
        monkeypatch.setattr(
            linear_entropy, "_divisor",
            lambda x, t, c, r, reduction, _: divisor(x, t, c, r, reduction, None),
        )  # fmt: skip
    elif error == "a chunk's dw in place of the sum":
        monkeypatch.setattr(linear_entropy, "chunked", last_only)


def last_only(part, arrays, chunk):
    """The sums are those of the last chunk."""
    y, sums = linear_entropy_chunked(part, arrays, chunk)
    if len(arrays[0]) > chunk and isinstance(sums, tuple) and len(sums) == 4:
        rest = len(arrays[0]) % chunk or chunk
        sums = (sums[0], *part(*(a[-rest:] for a in arrays))[1][1:])
    return y, sums


linear_entropy_chunked = linear_entropy.chunked


@pytest.mark.parametrize(
    "error",
    [
        "a label one off",
        "no smoothing in the gradient",
        "ignored rows counted in the mean",
        "a chunk's dw in place of the sum",
    ],
)
def test_a_planted_error_is_rejected(error, monkeypatch, random):
    """The written-out sums of above tell each of them from the right one."""
    planted(monkeypatch, error)
    jax.clear_caches()
    rule = jnn.linear_cross_entropy.replace()  # With no functions that were traced before.
    monkeypatch.setattr(linear_entropy, "ROWS", 4)
    monkeypatch.setattr(chunks, "CACHE", 1)
    x, w, t, b, _ = draw(random)
    t[:2] = 2
    smoothing, ignore = (0.1, None) if "smoothing" in error else (0.0, 2)
    counts = np.where(t == ignore, 0.0, 1.0)
    y, _, dw, *_ = written_out(
        x, w, t, b, np.ones(5), np.full(7, 1 / counts.sum()), smoothing, ignore
    )
    with jax.enable_x64(True):
        value, got = jax.value_and_grad(
            lambda w: rule(x, w, t, b, smoothing=smoothing, ignore=ignore)
        )(jnp.asarray(w))
    jax.clear_caches()
    right = np.allclose(value, y.sum() / counts.sum()) and np.allclose(got, dw)
    assert not right


def test_errors_name_the_argument_and_the_remedy():
    x, w, t = jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.zeros(4, int)
    loss = jnn.linear_cross_entropy
    with pytest.raises(ValueError, match=r"`x` must be of shape \(..., 3\) to fit `w`"):
        loss(x[:, :2], w, t)
    with pytest.raises(ValueError, match="one-hot targets need all logits: use softmax_cross"):
        loss(x, w, jnp.ones((4, 2)))
    with pytest.raises(TypeError, match="`t` must be an integer array"):
        loss(x, w, jnp.ones(4))
    with pytest.raises(ValueError, match=r"`b` must be of shape \(2,\)"):
        loss(x, w, t, jnp.ones(3))
    with pytest.raises(ValueError, match=r"`sample_weights` must be of shape \(4,\)"):
        loss(x, w, t, sample_weights=jnp.ones(2))
    with pytest.raises(ValueError, match="`reduction` must be one of 'mean', 'sum', 'none'"):
        loss(x, w, t, reduction="max")
    with pytest.raises(ValueError, match="`ignore` must be an integer that"):
        loss(x, w, t, ignore=2**40)
    with pytest.raises(ValueError, match=r"`smoothing` must be between 0 and 1"):
        loss(x, w, t, smoothing=2)
