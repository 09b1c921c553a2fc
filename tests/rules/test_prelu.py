"""The learned slope: loops over entries, planted errors, and the layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.arithmetic import as_wide
from jnn.rules import prelu


def by_loops(x, slope, delta):
    y, dx, dslope = np.empty_like(x), np.empty_like(x), np.zeros_like(slope)
    for place in np.ndindex(x.shape):
        of = place[-1:] if slope.ndim else ()
        steep = 1.0 if x[place] > 0 else slope[of]
        y[place], dx[place] = steep * x[place], steep * delta[place]
        dslope[of] += 0.0 if x[place] > 0 else delta[place] * x[place]
    return y, dx, dslope


@pytest.mark.parametrize("of", [(), (4,)])
@pytest.mark.parametrize("batch", [(), (3,), (2, 5), (0,)])
def test_values_and_gradients_equal_loops(random, batch, of):
    with jax.enable_x64(True):
        x, slope = random.normal(size=(*batch, 4)), random.normal(size=of)
        x.flat[:1] = 0  # At the kink.
        delta = random.normal(size=x.shape)
        y, pull = jax.vjp(prelu, jnp.asarray(x), jnp.asarray(slope))
        got = y, *pull(jnp.asarray(delta))
    for g, w in zip(got, by_loops(x, slope, delta), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-14)


def planted(wrong):
    def backward(saved, delta):
        x, slope = saved
        dx, dslope = prelu.parts.backward(saved, delta)
        axes = range(x.ndim - slope.ndim)
        above, below = (as_wide(jnp.where(side, x, jnp.zeros_like(x)) * delta)
                        for side in (x > 0, x <= 0))  # fmt: skip
        if wrong == "summed over the wrong axes":
            dslope = jnp.broadcast_to(below.sum(-1).mean(), slope.shape)
        elif wrong == "one a channel though one for all":
            dslope = below.mean(axes)
        elif wrong == "the side above":
            dslope = above.sum(axes)
        elif wrong == "no slope below":
            dx = jnp.where(x > 0, delta, jnp.zeros_like(delta))
        return dx, dslope

    return prelu.replace(backward=backward)


WRONG = [
    "summed over the wrong axes",
    "one a channel though one for all",
    "the side above",
    "no slope below",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_planted_errors_are_found(wrong):
    suites = ["agreement", "differences"]
    assert not jnn.verify.check(planted(wrong), suites=suites).ok
    assert jnn.verify.check(planted(""), suites=suites).ok


def test_the_slope_of_half_precision_is_summed_in_single():
    x, delta = -jnp.ones((4096, 2), jnp.bfloat16), jnp.ones((4096, 2), jnp.bfloat16)
    _, pull = jax.vjp(prelu, x, jnp.full(2, 0.25, jnp.bfloat16))
    assert pull(delta)[1].tolist() == [-4096, -4096]  # In bfloat16 the sum stops at 256.


def test_the_slope_must_fit():
    with pytest.raises(ValueError, match=r"prelu: `slope` must be of shape \(3,\), one a channel"):
        prelu(jnp.ones((2, 3)), jnp.ones(2))


def test_the_layer():
    x = jnp.array([[-1.0, 2.0, -4.0]])
    key = jax.random.key(0)
    for net, slope in ((jnn.prelu(), ()), (jnn.prelu(shared=False), (3,))):
        params, state = net.init(key, x)
        assert (params.slope.shape, state) == (slope, ())
        assert net(params, x).tolist() == [[-0.25, 2.0, -1.0]]
    with pytest.raises(ValueError, match="`params` must be PreluParams of one slope, got"):
        jnn.prelu()(params, x)
    net = jnn.serial(jnn.dense(2), jnn.prelu(slope=jnn.initialisers.constant(0.1)))
    assert net.init(key, x)[0][1].slope == np.float32(0.1)
