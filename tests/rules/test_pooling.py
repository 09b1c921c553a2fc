"""Pooling and sub-sampling: the documents' numbers, a second opinion, and the compiled backward."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import Connections, max_pool, mean_pool, subsample, weighted_subsample
from jnn.rules.core.product import products
from jnn.rules.pooling.windows import windows
from tests.golden import CASES, golden


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def cases(prefix):
    return [name for name in CASES if name.startswith(prefix)]


def image(maps):
    """The documents' maps first, (C, H, W), as an image (1, H, W, C)."""
    return jnp.asarray(np.moveaxis(maps, 0, -1)[None])


def equal(got, maps):
    np.testing.assert_allclose(np.moveaxis(np.asarray(got)[0], -1, 0), maps, atol=1e-13)


@pytest.mark.parametrize("ties", ["first", "split", "all"])
@pytest.mark.parametrize("name", cases("MAXPOOL"))
def test_golden_max_pooling(name, ties):
    inputs, outputs = (golden(name)[part] for part in ("inputs", "outputs"))
    pool = functools.partial(max_pool, window=tuple(map(int, inputs["K"])), ties=ties)
    y, pull = jax.vjp(pool, image(inputs["Y"]))
    equal(y, outputs["Z"])
    equal(pull(image(inputs["g"]))[0], outputs[f"dY_{ties}"])


def test_the_printed_indicator_multiplies_delta():
    """H-100 to the letter; rectified maps tie often, at zero."""
    x, total = jnp.zeros((1, 2, 2, 1)), {}
    for ties in ("first", "split", "all"):
        total[ties] = jax.grad(lambda x, t=ties: max_pool(x, window=2, ties=t).sum())(x).sum()
    assert total == {"first": 1, "split": 1, "all": 4}


def test_max_pooling_of_xu():
    inputs, outputs = golden("X-141")["inputs"], golden("X-141")["outputs"]
    y, pull = jax.vjp(functools.partial(max_pool, window=2), image(inputs["Y"][None]))
    equal(y, outputs["Z"][None])
    equal(pull(jnp.ones_like(y))[0], outputs["dY"][None])
    assert max_pool(image(inputs["Y2"][None]), window=2).item() == outputs["Z2"]
    assert max_pool(jnp.zeros((1, 224, 224, 1)), window=2).shape == (1, 112, 112, 1)


@pytest.mark.parametrize("name", cases("VSUB"))
def test_golden_vanilla_subsampling(name):
    inputs, outputs = golden(name)["inputs"], golden(name)["outputs"]
    factor = tuple(map(int, inputs["K"]))
    y, pull = jax.vjp(lambda x: subsample(x, factor=factor), image(inputs["Y"]))
    equal(y, outputs["Z"])  # H-103: ceil(n / K), where the floor indexes out of range.
    equal(pull(image(inputs["g"]))[0], outputs["dY"])


@pytest.mark.parametrize("name", cases("WSUB"))
def test_golden_weighted_subsampling(name):
    """Single weights sum over D_i, which H-87 and H-96 leave out; H-92 has no rule for them."""
    inputs, outputs = golden(name)["inputs"], golden(name)["outputs"]
    alpha = jnp.asarray(inputs["alpha"].T)  # The documents' (out, in) is our (in, out).
    table = Connections.of([np.atleast_1d(d).tolist() for d in inputs["D"]], len(inputs["Y"]))
    step = functools.partial(
        weighted_subsample, factor=tuple(map(int, inputs["K"])), connections=table
    )
    y, pull = jax.vjp(step, image(inputs["Y"]), alpha, jnp.asarray(inputs["b"]))
    equal(y, outputs["Z"])
    dx, dalpha, db = pull(image(inputs["g"]))
    equal(dx, outputs["dY"])
    np.testing.assert_allclose(dalpha, outputs["dalpha"].T, atol=1e-13)
    np.testing.assert_allclose(db, outputs["db"], atol=1e-13)


GRID = [
    # size, window, stride, padding
    ((6, 7), (2, 2), (2, 2), ((0, 0), (0, 0))),
    ((7, 8), (3, 3), (2, 2), ((1, 1), (0, 1))),
    ((5, 6), (3, 2), (1, 1), ((2, 0), (1, 1))),
    ((9, 5), (2, 2), (3, 4), ((0, 1), (1, 0))),
    ((8, 9), (5, 6), (2, 3), ((0, 0), (2, 2))),
    ((11,), (4,), (3,), ((3, 2),)),
    ((4, 5, 4), (2, 3, 2), (2, 1, 2), ((0, 0), (1, 1), (0, 0))),
]


def by_loops(x, delta, window, stride, padding):
    """Values and cotangents of max pooling and of mean pooling, window by window."""
    size = x.shape[1:-1]
    axes = list(zip(size, window, stride, padding, strict=True))
    places = [(n + sum(p) - w) // s + 1 for n, w, s, p in axes]
    top, mean = (np.zeros((len(x), *places, x.shape[-1])) for _ in range(2))
    dtop, dmean = np.zeros_like(x), np.zeros_like(x)
    for n, *place, c in np.ndindex(top.shape):
        seen = [
            range(max(o * s - p, 0), min(o * s - p + w, m))
            for o, (m, w, s, (p, _)) in zip(place, axes, strict=True)
        ]
        pixels = [(n, *pixel, c) for pixel in itertools.product(*seen)]
        values, d = [x[p] for p in pixels], delta[n, *place, c]
        top[n, *place, c], mean[n, *place, c] = max(values), np.mean(values)
        dtop[pixels[int(np.argmax(values))]] += d
        for p in pixels:
            dmean[p] += d / len(pixels)
    return (top, dtop), (mean, dmean)


@pytest.mark.parametrize(("size", "window", "stride", "padding"), GRID)
def test_pooling_equals_loops_over_windows(random, size, window, stride, padding):
    settings = {"window": window, "stride": stride, "padding": padding}
    x = np.round(random.normal(size=(2, *size, 2)), 1)  # Ties occur.
    y = jax.eval_shape(functools.partial(max_pool, **settings), x)
    delta = random.normal(size=y.shape)
    pools = {"max": max_pool, "mean": mean_pool}
    for pool, (value, dx) in zip(
        pools.values(), by_loops(x, delta, window, stride, padding), strict=True
    ):
        got, pull = jax.vjp(functools.partial(pool, **settings), jnp.asarray(x))
        np.testing.assert_allclose(got, value, atol=1e-14)
        np.testing.assert_allclose(pull(jnp.asarray(delta))[0], dx, atol=1e-13)


@pytest.mark.parametrize(("size", "window", "stride", "padding"), [GRID[0], GRID[2], GRID[-1]])
def test_all_implementations_find_the_same_winner(random, size, window, stride, padding):
    x = jnp.asarray(np.round(random.normal(size=(2, *size, 2)), 1))
    product = products["max_pool.value"]
    seen = windows("max_pool", size, window, stride, padding)
    call = product.call(x, setting=seen)
    names = product.candidates(call)
    assert len(names) == (3 if window == stride else 2)
    results = [product.compute(name, x, setting=seen) for name in names]
    for result in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], result)


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 2},
        {"window": 3, "stride": 2, "padding": "same"},
        {"window": (3, 2), "stride": (1, 3), "padding": ((1, 2), (0, 1))},
    ],
)
@pytest.mark.parametrize("pool", [max_pool, mean_pool])
def test_what_a_tpu_has_operations_for_is_the_same(random, pool, settings):
    x = jnp.asarray(random.integers(0, 4, (2, 7, 8, 3)), jnp.float64)  # With ties.
    y, pull = jax.vjp(functools.partial(pool, **settings), x)
    delta = jnp.asarray(random.normal(size=y.shape))
    with jnn.platform("tpu"):
        there, pull_there = jax.vjp(functools.partial(pool, **settings), x)
        text = str(jax.make_jaxpr(lambda d: pull_there(d))(delta))
    np.testing.assert_allclose(there, y, rtol=1e-14)
    np.testing.assert_allclose(pull_there(delta)[0], pull(delta)[0], rtol=1e-13, atol=1e-14)
    assert ("select_and_scatter_add" if pool is max_pool else "reduce_window") in text


def test_padding_never_wins():
    """Even where the window holds nothing but -inf delta reaches the image."""
    x = jnp.full((1, 3, 3, 1), -jnp.inf)
    for window in (3, 5):  # At once, and axis by axis.
        pool = functools.partial(max_pool, window=window, stride=1, padding="same")
        y, pull = jax.vjp(pool, x)
        assert (y == -jnp.inf).all()
        assert pull(jnp.ones_like(y))[0].sum() == 9


def test_the_winner_takes_one_byte():
    ledger = jnn.residuals(functools.partial(max_pool, window=2), jnp.zeros((2, 8, 8, 3)))
    (winner,) = ledger.hand
    assert (winner.shape, winner.dtype) == ((2, 4, 4, 3), jnp.uint8)


WORK = {
    "tiles": functools.partial(max_pool, window=2),
    "overlap": functools.partial(max_pool, window=3, stride=2, padding="same"),
    "large": functools.partial(max_pool, window=8),
    "all ties": functools.partial(max_pool, window=2, ties="all"),
    "split ties": functools.partial(max_pool, window=3, stride=1, ties="split"),
    "mean": functools.partial(mean_pool, window=3, stride=2, padding=1),
    "vanilla": functools.partial(subsample, factor=2),
    "weighted": lambda x: weighted_subsample(x, jnp.ones((3, 2)), jnp.ones(2), factor=2),
}


def operations(step, x):
    """Of value and backward, as the compiler of any device gets them.

    (On a CPU it turns a scatter into a loop, so that its own program shows none.)
    """

    def both(x):
        y, pull = jax.vjp(step, x)
        return y, pull(y)

    return set(re.findall(r"stablehlo\.([a-z_]+)", jax.jit(both).lower(x).as_text()))


@pytest.mark.parametrize("name", WORK)
def test_no_backward_scatters(name):
    """A scatter adds in any order on a GPU, and under deterministic ops does not compile there."""
    found = operations(WORK[name], jnp.zeros((2, 8, 8, 3)))
    assert "reshape" in found
    assert not [each for each in found if "scatter" in each]


def test_autodiff_scatters():
    found = operations(jnn.autodiff(WORK["tiles"]), jnp.zeros((2, 8, 8, 3)))
    assert "select_and_scatter" in found


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: max_pool(x, window=9), "at most the image with its padding, 8 pixels, got 9"),
        (lambda x: max_pool(x, window=2, padding=2), "`padding` must be less than the window of 2"),
        (lambda x: max_pool(x, window=2, ties="last"), "`ties` must be one of 'first', 'split'"),
        (lambda x: max_pool(x[0, 0], window=2), r"`x` must be images \(N, \*size, C\)"),
        (lambda x: max_pool(x, window=(2, 2, 2)), "`window` must be an integer or 2 of them"),
        (lambda x: subsample(x, factor=0), "`factor` must be a positive integer, got 0"),
        (
            lambda x: weighted_subsample(x, jnp.ones(2), factor=2),
            r"`alpha` must be of shape \(3,\)",
        ),
    ],
)
def test_what_does_not_fit_says_so(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(jnp.zeros((2, 8, 8, 3)))


@pytest.mark.parametrize(
    "pool",
    [
        lambda x, **rest: max_pool(x, window=2, **rest),
        lambda x, **rest: mean_pool(x, window=2, **rest),
        lambda x, **rest: weighted_subsample(x, jnp.ones(3), factor=2, **rest),
        lambda x, **rest: jnn.weighted_subsample(2, **rest)(
            jnn.layers.SubsampleParams(jnp.ones(3), None), x
        ),
    ],
)
def test_pixels_behind_the_last_window_are_dropped_or_refused(pool):
    x = jnp.ones((1, 5, 4, 3))
    assert pool(x).shape == pool(x, rest="drop").shape == (1, 2, 2, 3)
    assert pool(x[:, :4], rest="error").shape == (1, 2, 2, 3)
    with pytest.raises(ValueError, match='leave 1 out by rest="drop"'):
        pool(x, rest="error")
