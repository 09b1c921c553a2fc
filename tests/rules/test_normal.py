"""Normalisation: against loops and closed forms, far from zero, on several devices, and wrong."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jnn
from jnn.rules import (
    batch_norm,
    conv_norm,
    group_norm,
    layer_norm,
    norm_relu_conv,
    registry,
    rms_norm,
)
from jnn.rules.convolution.conv import conv_backward
from jnn.rules.normal.batch import batch_norm_backward
from jnn.rules.normal.conv_norm import conv_norm_backward
from jnn.rules.normal.convolved import norm_relu_conv_backward
from jnn.rules.normal.group import group_norm_backward
from jnn.rules.normal.rows import layer_norm_backward, rms_norm_backward

NAMES = ("batch_norm", "layer_norm", "rms_norm", "group_norm", "norm_relu_conv", "conv_norm")
FULL: Any = {"rtol": 1e-11, "atol": 1e-11}


def sets(name: str, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """For each entry the number of the set that it is normalised with."""
    at = np.indices(shape)
    if name == "batch_norm":
        return at[-1]
    if name == "group_norm":
        return at[0] * groups + at[-1] // (shape[-1] // groups)
    return np.arange(at[0].size).reshape(shape) // shape[-1]


def by_matrix(name, x, scale, shift, epsilon, groups=1):
    """The value; set by set the Jacobian of n as an explicit matrix; means and variances."""
    label, n, moments = sets(name, x.shape, groups).ravel(), np.zeros(x.size), []
    jacobian = np.zeros((x.size, x.size))
    for k in np.unique(label):
        (rows,) = np.nonzero(label == k)
        z = x.ravel()[rows]
        mean = 0.0 if name == "rms_norm" else z.mean()
        deviation = np.sqrt(np.mean((z - mean) ** 2) + epsilon)
        n[rows] = (z - mean) / deviation
        centring = np.eye(len(z)) - (name != "rms_norm") / len(z)
        moments.append((mean, np.mean((z - mean) ** 2)))
        own = centring - np.outer(n[rows], n[rows]) / len(z)
        jacobian[np.ix_(rows, rows)] = own / deviation
    n = n.reshape(x.shape)
    return n * scale + shift, n, jacobian, np.array(moments).T


SHAPES = {
    "batch_norm": [(5, 3), (4, 2, 3), (2, 3, 2, 2)],
    "layer_norm": [(6,), (4, 5), (2, 3, 4)],
    "rms_norm": [(6,), (4, 5), (2, 3, 4)],
    "group_norm": [(3, 6), (2, 4, 6), (2, 2, 3, 6)],
}
CASES = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_values_and_cotangents_are_those_of_the_explicit_jacobian(name, shape, random):
    x, delta = 3 + random.normal(size=(2, *shape))
    scale, shift = random.normal(size=(2, shape[-1]))
    if name == "rms_norm":
        shift[:] = 0
    epsilon, settings = 1e-2, {"groups": 3} if name == "group_norm" else {}
    wanted, n, jacobian, moments = by_matrix(name, x, scale, shift, epsilon, **settings)
    args = (x, scale) if name == "rms_norm" else (x, scale, shift)
    with jax.enable_x64(True):
        y, back = jax.vjp(functools.partial(registry[name], epsilon=epsilon, **settings), *args)
        found = y[0] if name == "batch_norm" else y
        rest = (jnp.zeros(shape[-1]),) * 2
        grads = back((delta, *rest) if name == "batch_norm" else jnp.asarray(delta))
    np.testing.assert_allclose(found, wanted, **FULL)
    dx = (jacobian.T @ (delta * scale).ravel()).reshape(shape)
    np.testing.assert_allclose(grads[0], dx, **FULL)
    np.testing.assert_allclose(grads[1], (n * delta).reshape(-1, shape[-1]).sum(0), **FULL)
    if name == "rms_norm":
        return
    np.testing.assert_allclose(grads[2], delta.reshape(-1, shape[-1]).sum(0), **FULL)
    if name == "batch_norm":
        np.testing.assert_allclose(y[1:], moments, **FULL)
        with jax.enable_x64(True):
            dmean, dvariance = random.normal(size=(2, shape[-1]))
            (dx, dscale, _) = back((jnp.zeros(shape), dmean, dvariance))
        m = x.size / shape[-1]
        np.testing.assert_allclose(dx, (dmean + 2 * (x - moments[0]) * dvariance) / m, **FULL)
        np.testing.assert_array_equal(dscale, 0)


def test_instances_are_groups_of_one_channel(random):
    x, scale = random.normal(size=(2, 5, 4, 3)), random.normal(size=3)
    with jax.enable_x64(True):
        y = group_norm(x, scale, groups=3)
        alone = np.stack([batch_norm(each[None], scale)[0][0] for each in x])
        np.testing.assert_allclose(y, alone, **FULL)
        whole = group_norm(x, groups=1).reshape(2, -1)
        np.testing.assert_allclose(whole, layer_norm(x.reshape(2, -1)), **FULL)


def norm_first(x, w, b, scale, shift):
    y, *moments = batch_norm(x, scale, shift, epsilon=1e-3)
    return jnn.rules.conv(jnn.rules.relu(y), w, b, padding="same"), *moments


def conv_first(x, w, b, scale, shift):
    z = jnn.rules.conv(x, w, b, padding="same")
    return batch_norm(z, scale, shift, epsilon=1e-3)


@pytest.mark.parametrize("apart", [norm_first, conv_first])
def test_the_fused_rule_is_its_parts(apart, random):
    x, w = 2 + random.normal(size=(5, 6, 7, 3)), random.normal(size=(3, 3, 3, 3))
    args = x, w, *random.normal(size=(3, 3))

    def fused(x, w, b, scale, shift):
        if apart is norm_first:
            return norm_relu_conv(x, scale, shift, w, b, epsilon=1e-3, padding="same")
        return conv_norm(x, w, b, scale, shift, epsilon=1e-3, padding="same")

    def gradients(f, *args):
        y, back = jax.vjp(f, *args)
        return y, back(jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size).reshape(a.shape)), y))

    with jax.enable_x64(True):
        ours, theirs = (jax.jit(functools.partial(gradients, f))(*args) for f in (fused, apart))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_chunks_of_the_fused_rule_make_no_difference(random, monkeypatch):
    from jnn.rules.core import chunks

    x, w = random.normal(size=(7, 6, 6, 2)), random.normal(size=(3, 3, 2, 2))
    with jax.enable_x64(True):

        def gradient(x, w):
            return jax.grad(lambda x, w: jnp.sin(norm_relu_conv(x, None, None, w)[0]).sum(),
                            (0, 1))(x, w)  # fmt: skip

        whole = gradient(x, w)
        monkeypatch.setattr(chunks, "CACHE", 2 * 4 * 4 * 2 * 8)  # Two samples.
        parts = jax.jit(gradient)(x, w)
        assert "scan" in str(jax.make_jaxpr(gradient)(x, w))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


# Far from zero, where E[x^2] - E[x]^2 has no digit left in float32.


def far(shape, random, ratio=1e4):
    """Numbers of mean `ratio` deviations that float32 holds exactly."""
    return (ratio + random.normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "group_norm"])
@pytest.mark.parametrize("outlier", [False, True])
def test_a_large_mean_costs_no_digits(name, outlier, random):
    x = far((16, 8, 8, 6) if name != "layer_norm" else (64, 256), random)
    if outlier:  # The number from which differences are taken is itself far off.
        x[(0,) * x.ndim] = 0
    rule = functools.partial(registry[name], **({"groups": 2} if name == "group_norm" else {}))
    delta = (1 + random.normal(size=x.shape)).astype(np.float32)
    scale = random.uniform(0.5, 2, x.shape[-1]).astype(np.float32)

    def told(x, scale, delta):
        y, back = jax.vjp(lambda *a: jax.tree.leaves(rule(*a))[0], x, scale)
        return y, *back(delta)

    got = jax.jit(told)(x, scale, delta)
    with jax.enable_x64(True), jnn.derivatives("autodiff"):
        wanted = told(*(np.float64(a) for a in (x, scale, delta)))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * float(np.abs(b).max()))


def test_the_naive_variance_has_no_digit_left(random):
    """That the test above can fail."""
    x = far((4096, 1), random)
    naive = jnp.mean(x * x) - jnp.mean(x) ** 2
    assert abs(float(naive) - x.var(dtype=np.float64)) > 0.5
    _, _, variance = batch_norm(x)
    np.testing.assert_allclose(variance, x.var(0, dtype=np.float64), rtol=1e-6)


def test_the_outputs_and_dtypes_of_half_precision(random):
    x = jnp.asarray(1 + random.normal(size=(64, 5)), jnp.bfloat16)
    y, mean, variance = batch_norm(x, jnp.ones(5, jnp.bfloat16))
    assert (y.dtype, mean.dtype, variance.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    exact = np.float64(x)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var(0), rtol=1e-5)
    for rule in (layer_norm, rms_norm, functools.partial(group_norm, groups=5)):
        assert rule(x).dtype == jnp.bfloat16


def test_what_is_not_finite_stays_in_its_set():
    x = jnp.arange(12.0).reshape(4, 3).at[1, 2].set(jnp.nan)
    assert np.isnan(batch_norm(x)[0]).all(0).tolist() == [False, False, True]
    assert np.isnan(layer_norm(x)).all(1).tolist() == [False, True, False, False]
    assert np.isnan(layer_norm(x)).any(1).sum() == 1
    assert np.isnan(rms_norm(x)).any(1).sum() == 1


# Maps and devices.


def test_under_vmap_each_batch_has_its_own_statistics(random):
    x, scale = random.normal(size=(3, 6, 4)), random.normal(size=(3, 4))
    with jax.enable_x64(True):
        y, mean, _ = jax.vmap(batch_norm)(x, scale)
        for i in range(3):
            np.testing.assert_allclose(y[i], batch_norm(x[i], scale[i])[0], **FULL)
            np.testing.assert_allclose(mean[i], x[i].mean(0), **FULL)


def images(random):
    """A batch whose parts differ much, and all that goes with it."""
    x = random.normal(size=(16, 4, 3, 2)) + np.arange(16)[:, None, None, None]
    return x, random.normal(size=2), random.normal(size=2), random.normal(size=(3, 3, 2, 2))


def objective(rule, *args):
    """A number that depends on all outputs, and what it is a sum of over the samples."""
    y, mean, variance = rule(*args)
    return jnp.sin(y).sum(), (jnp.cos(mean) * variance).sum()


RULES = {
    "batch_norm": (batch_norm, 3),
    "norm_relu_conv": (functools.partial(norm_relu_conv, padding="same"), 4),
}


@pytest.mark.parametrize(("rule", "count"), RULES.values(), ids=RULES)
@pytest.mark.parametrize("place", ["outside", "inside", "unchecked"])
def test_under_shard_map_the_named_axes_make_one_batch(rule, count, place, random):
    args = images(random)[:count]
    mesh = jax.make_mesh((4, 2), ("a", "b"), (AxisType.Auto,) * 2)
    axes, split, whole = ("a", "b"), PartitionSpec(("a", "b")), PartitionSpec()
    specs = (split, *[whole] * (count - 1))
    shared = functools.partial(rule, axis_name=axes)

    def value(*args):
        one, other = objective(shared, *args)
        return jax.lax.psum(one, axes) + other

    def wanted(*args):
        return sum(objective(rule, *args))

    every = tuple(range(count))
    if place == "outside":
        mapped = jax.shard_map(value, mesh=mesh, in_specs=specs, out_specs=whole)
        program = jax.value_and_grad(mapped, every)
    elif place == "inside":
        program = jax.shard_map(
            jax.value_and_grad(value, every), mesh=mesh, in_specs=specs, out_specs=(whole, specs)
        )
    else:  # JAX keeps no account of what differs: gradients are summed by hand.

        def own(*args):
            one, other = objective(shared, *args)
            return one + other / 8

        def gradient(*args):
            y, grads = jax.value_and_grad(own, every)(*args)
            y, *rest = jax.lax.psum((y, *grads[1:]), axes)
            return y, (grads[0], *rest)

        program = jax.shard_map(
            gradient, mesh=mesh, in_specs=specs, out_specs=(whole, specs), check_vma=False
        )
    with jax.enable_x64(True):
        y, grads = jax.jit(program)(*args)
        other, others = jax.jit(jax.value_and_grad(wanted, every))(*args)
        np.testing.assert_allclose(y, other, rtol=1e-12)
        for a, b in zip(grads, others, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_without_named_axes_each_device_normalises_its_part(random):
    x, *_ = images(random)
    mesh = jax.make_mesh((8,), ("a",), (AxisType.Auto,))
    spec = PartitionSpec("a")
    with jax.enable_x64(True):
        y = jax.shard_map(lambda x: batch_norm(x)[0], mesh=mesh, in_specs=spec, out_specs=spec)(x)
        for i in range(0, 16, 2):
            np.testing.assert_allclose(y[i : i + 2], batch_norm(x[i : i + 2])[0], **FULL)


def test_a_named_axis_of_vmap_makes_one_batch_too(random):
    x, scale, _, _ = images(random)
    with jax.enable_x64(True):
        parts = x.reshape(4, 4, *x.shape[1:])

        def gradient(x, scale):
            f = functools.partial(batch_norm, axis_name="parts")
            return jax.grad(lambda x, s: sum(objective(f, x, s)), (0, 1))(x, scale)

        def wanted(x, scale):
            # The statistics' term is that of each part, four times.
            one, other = objective(batch_norm, x, scale)
            return one + 4 * other

        dx, dscale = jax.vmap(gradient, (0, None), axis_name="parts")(parts, scale)
        others = jax.grad(wanted, (0, 1))(x, scale)
        np.testing.assert_allclose(dx.reshape(x.shape), others[0], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(dscale.sum(0), others[1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("rule", "count"), RULES.values(), ids=RULES)
def test_a_batch_that_jit_lays_out_on_devices_is_one_batch(rule, count, random):
    args = images(random)[:count]
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    with jax.enable_x64(True):
        x = jax.device_put(args[0], NamedSharding(mesh, PartitionSpec("data")))
        every = tuple(range(count))
        program = jax.jit(jax.value_and_grad(lambda *a: sum(objective(rule, *a)), every))
        y, grads = program(x, *args[1:])
        other, others = program(*args)
    np.testing.assert_allclose(y, other, rtol=1e-12)
    for a, b in zip(grads, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


# What is refused.

X = jnp.ones((4, 6))
REFUSED = {
    "one axis": (lambda: batch_norm(jnp.ones(3)), "rank 2 at least, got float32[3]"),
    "nothing": (lambda: batch_norm(jnp.ones((0, 3))), "a batch of one sample at least"),
    "integers": (lambda: layer_norm(jnp.ones((2, 3), int)), "a floating array"),
    "a long scale": (lambda: rms_norm(X, jnp.ones(4)), "`scale` must be of shape (6,)"),
    "a square shift": (
        lambda: layer_norm(X, None, jnp.ones((6, 6))), "`shift` must be of shape (6,)"
    ),
    "two dtypes": (lambda: batch_norm(X, jnp.ones(6, jnp.bfloat16)), "of the dtype of `x`"),
    "a negative epsilon": (lambda: layer_norm(X, epsilon=-1e-3), "between 0 and inf, got -0.001"),
    "groups": (lambda: group_norm(X, groups=4), "`groups` must be a divisor of the 6 channels"),
    "no groups": (lambda: group_norm(X, groups=0), "a positive integer"),
    "a filter": (
        lambda: norm_relu_conv(jnp.ones((1, 4, 4, 3)), None, None, jnp.ones((3, 3, 2, 2))),
        "must be of shape (3, 3, 3, 2)",
    ),
    "a scale of the fused": (
        lambda: norm_relu_conv(jnp.ones((1, 4, 3)), jnp.ones(2), None, jnp.ones((3, 3, 2))),
        "norm_relu_conv: `scale` must be of shape (3,)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert words in str(caught.value)


# Planted errors: what others shipped, and what one might.


def changed(backward, change):
    """A backward whose cotangents are changed."""
    return lambda saved, delta, **settings: change(backward(saved, delta, **settings), saved, delta)


def tampered(backward, tamper):
    """A backward that is given something else."""
    return lambda saved, delta, **settings: backward(*tamper(saved, delta), **settings)


def without_mean(saved, delta, *, epsilon):
    x, scale, rest, r = saved
    n = (x - x[..., :1] - rest) * r
    v = delta * scale if scale is not None else delta
    dx = r * (v - n * (n * v).mean(-1, keepdims=True))
    return dx, *layer_norm_backward(saved, delta, epsilon=epsilon)[1:]


def along_columns(saved, delta, *, epsilon):
    x, scale, rest, r = saved
    n = (x - x[..., :1] - rest) * r
    v = delta * scale if scale is not None else delta
    dx = r * (v - v.mean(0, keepdims=True) - n * (n * v).mean(0, keepdims=True))
    return dx, *layer_norm_backward(saved, delta, epsilon=epsilon)[1:]


def no_statistics(saved, delta):
    return saved, (delta[0], 0 * delta[1], 0 * delta[2])


def of_x(grads, saved, delta):
    """The gradient of scale from x instead of n."""
    x, axes = saved[0], tuple(range(saved[0].ndim - 1))
    dy = delta[0] if isinstance(delta, tuple) else delta
    return grads[0], (x * dy).sum(axes), *grads[2:]


def never_computed(grads, saved, delta):
    return grads[0], jnp.zeros_like(grads[1]), *grads[2:]


def swapped(grads, saved, delta):
    return grads[0], grads[2], grads[1], *grads[3:]


def no_scale(saved, delta):
    """`dx` as if scale were 1, which is what a forgotten factor does."""
    return (saved[0], None if saved[1] is None else jnp.ones_like(saved[1]), *saved[2:]), delta


def stale(saved, delta, **settings):
    """What was normalised, made again without epsilon."""
    return batch_norm_backward(saved, delta, **settings | {"epsilon": 0.0})


def unbiased(saved, delta, **settings):
    """The variance over m - 1 in the backward, over m in the forward."""
    x, scale, found = saved
    m = x.size // x.shape[-1]
    found = found._replace(variance=found.variance * (m / (m - 1)))
    return batch_norm_backward((x, scale, found), delta, **settings)


def only_local(saved, delta, **settings):
    """Mean and variance as if they did not depend on x: batch norm in evaluation."""
    x, scale, found = saved
    _, *grads = batch_norm_backward(saved, delta, **settings)
    r = jnp.broadcast_to(1 / jnp.sqrt(found.variance + settings["epsilon"]), x.shape)
    return delta[0] * r * (1 if scale is None else jnp.broadcast_to(scale, x.shape)), *grads


def late_mask(saved, delta, **settings):
    """The rectifier's mask taken from x, before the norm."""
    dx, *grads = norm_relu_conv_backward(saved, delta, **settings)
    return jnp.where(saved[1] > 0, dx, 0), *grads


def unrectified(saved, delta, **settings):
    """The filter's gradient from the image before the rectifier."""
    g, x, scale, shift, w, found = saved
    grads = norm_relu_conv_backward(saved, delta, **settings)
    lifted = (g, x, scale, 100 + (0 if shift is None else shift), w, found)
    if shift is None:
        lifted = (g, x, scale, jnp.full(x.shape[-1], 100.0), w, found)
    return *grads[:3], norm_relu_conv_backward(lifted, delta, **settings)[3], grads[4]


def without_biases(saved, delta, **settings):
    """The convolution computed again without its biases."""
    g, x, w, _, scale, found = saved
    return conv_norm_backward((g, x, w, None, scale, found), delta, **settings)


def not_through_the_norm(saved, delta, **settings):
    """The filter's gradient from the cotangent of the normalised."""
    g, x, w, *_ = saved
    return *conv_backward((x, w, g), delta[0], connections=None), *conv_norm_backward(
        saved, delta, **settings)[3:]  # fmt: skip


def all_channels(saved, delta, *, groups, epsilon):
    """Means over all channels of a sample instead of the group's."""
    x, scale, rest, r = saved
    each, axes = x.shape[-1] // groups, tuple(range(1, x.ndim))
    first = x[(slice(None), *[slice(1)] * (x.ndim - 2), slice(None, None, each))]
    n = (x - jnp.repeat(first + rest, each, -1)) * jnp.repeat(r, each, -1)
    v = delta if scale is None else delta * scale
    of_v, of_nv = (a.mean(axes, keepdims=True) for a in (v, n * v))
    dx = jnp.repeat(r, each, -1) * (v - of_v - n * of_nv)
    return dx, *group_norm_backward(saved, delta, groups=groups, epsilon=epsilon)[1:]


PLANTED: dict[str, tuple[Any, Any]] = {
    "batch: statistics' cotangents forgotten": (
        batch_norm, tampered(batch_norm_backward, no_statistics)
    ),
    "batch: scale forgotten in dx": (batch_norm, tampered(batch_norm_backward, no_scale)),
    "batch: dscale never computed": (batch_norm, changed(batch_norm_backward, never_computed)),
    "batch: dscale from x": (batch_norm, changed(batch_norm_backward, of_x)),
    "batch: dscale and dshift swapped": (batch_norm, changed(batch_norm_backward, swapped)),
    "batch: n made again without epsilon": (batch_norm, stale),
    "batch: m - 1 for m": (batch_norm, unbiased),
    "batch: statistics taken for constants": (batch_norm, only_local),
    "layer: a mean term missing": (layer_norm, without_mean),
    "layer: along the wrong axis": (layer_norm, along_columns),
    "layer: dscale never computed": (layer_norm, changed(layer_norm_backward, never_computed)),
    "layer: dscale from x": (layer_norm, changed(layer_norm_backward, of_x)),
    "layer: scale forgotten in dx": (layer_norm, tampered(layer_norm_backward, no_scale)),
    "rms: dscale never computed": (rms_norm, changed(rms_norm_backward, never_computed)),
    "rms: dscale from x": (rms_norm, changed(rms_norm_backward, of_x)),
    "rms: dx with a mean subtracted": (
        rms_norm,
        changed(rms_norm_backward, lambda grads, saved, delta: (
            grads[0] - grads[0].mean(-1, keepdims=True), grads[1]
        )),
    ),
    "rms: scale forgotten in dx": (rms_norm, tampered(rms_norm_backward, no_scale)),
    "group: dscale and dshift swapped": (group_norm, changed(group_norm_backward, swapped)),
    "group: dscale never computed": (group_norm, changed(group_norm_backward, never_computed)),
    "group: scale forgotten in dx": (group_norm, tampered(group_norm_backward, no_scale)),
    "group: means of all channels": (group_norm, all_channels),
    "fused: the mask of x": (norm_relu_conv, late_mask),
    "fused: the filter reads what is not rectified": (norm_relu_conv, unrectified),
    "fused: statistics' cotangents forgotten": (
        norm_relu_conv, tampered(norm_relu_conv_backward, no_statistics)
    ),
    "remade: without biases": (conv_norm, without_biases),
    "remade: the filter as without a norm": (conv_norm, not_through_the_norm),
    "remade: statistics' cotangents forgotten": (
        conv_norm, tampered(conv_norm_backward, no_statistics)
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "backward"), PLANTED.values(), ids=PLANTED)
def test_a_planted_error_is_found(rule, backward):
    report = jnn.verify.check(rule.replace(backward=backward), suites=["agreement"])
    assert not report.ok
    assert any("cotangent" in finding for finding in report.findings)


def test_the_right_ones_pass_the_same_way():
    for name, suite in itertools.product(NAMES[:4], ["agreement"]):
        assert jnn.verify.check(registry[name], suites=[suite]).ok
