"""Resized and shuffled images: loops over pixels, jax.image, and planted errors."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.rules import pixel_shuffle, pixel_unshuffle, resize
from jnn.rules.images.taps import FEW, Taps, mapped


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def matrix(n, m, method, align):
    """The map of one axis by the formulas, in floating point: (m, n)."""
    found = np.zeros((m, n))
    for i in range(m):
        place = {
            "starts": i * n / m,
            "centres": (i + 0.5) * n / m - 0.5,
            "corners": i * (n - 1) / max(m - 1, 1),
        }[align]
        if method == "nearest":
            found[i, int(np.floor(place + (0.5 if align == "centres" else 0) + 1e-9))] = 1
        else:
            place = min(max(place, 0), n - 1)
            for q in range(n):
                found[i, q] = max(0, 1 - abs(place - q))
    return found


def pulled(step, x, delta):
    """The value, and delta pulled back, in one program."""

    def both(x, delta):
        y, pull = jax.vjp(step, x)
        return y, pull(delta)[0]

    return jax.jit(both)(x, delta)


KINDS = [
    ("nearest", "starts"),
    ("nearest", "centres"),
    ("linear", "centres"),
    ("linear", "corners"),
]
SIZES = [((4, 3), (8, 9)), ((5, 7), (3, 4)), ((6, 1), (1, 4)), ((3,), (7,)), ((2, 3, 4), (3, 3, 2)),
         ((12,), (5,)), ((40,), (3,)), ((3,), (40,))]  # fmt: skip


@pytest.mark.parametrize(("method", "align"), KINDS)
@pytest.mark.parametrize(("image", "size"), SIZES)
def test_resizing_is_a_matrix_along_each_axis(random, image, size, method, align):
    x = random.normal(size=(2, *image, 3))
    want, back = x, random.normal(size=(2, *size, 3))
    y, dx = pulled(functools.partial(resize, size=size, method=method, align=align), x, back)
    for axis, (n, m) in enumerate(zip(image, size, strict=True), 1):
        along = matrix(n, m, method, align)
        want = np.moveaxis(np.tensordot(want, along, (axis, 1)), -1, axis)
        back = np.moveaxis(np.tensordot(back, along, (axis, 0)), -1, axis)
    np.testing.assert_allclose(y, want, atol=1e-12)
    np.testing.assert_allclose(dx, back, atol=1e-12)


def test_where_jax_agrees_and_where_it_does_not(random):
    x = jnp.asarray(random.normal(size=(2, 6, 4, 3)))
    theirs = functools.partial(jax.image.resize, x, antialias=False)
    resize = jax.jit(jnn.rules.resize, static_argnames=("size", "method", "align"))
    for size in ((9, 7), (4, 3)):
        for method in ("nearest", "linear"):
            ours = resize(x, size=size, method=method, align="centres")
            np.testing.assert_allclose(ours, theirs((2, *size, 3), method), atol=1e-12)
    assert jnp.abs(resize(x, size=4) - theirs((2, 4, 4, 3), "nearest")).max() > 0.1
    smaller = jax.image.resize(x, (2, 3, 2, 3), "linear")  # With its filter against aliasing.
    assert jnp.abs(resize(x, size=(3, 2), method="linear") - smaller).max() > 0.1


def test_an_image_of_its_size_is_itself(random):
    x = jnp.asarray(random.normal(size=(2, 5, 4, 3)))
    for method, align in KINDS:
        np.testing.assert_array_equal(resize(x, size=(5, 4), method=method, align=align), x)


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_half_precision_is_summed_in_single(method):
    delta = jnp.ones((1, 4096, 1), jnp.bfloat16)
    _, pull = jax.vjp(
        lambda x: resize(x, size=4096, method=method), jnp.ones((1, 1, 1), delta.dtype)
    )
    assert pull(delta)[0].item() == 4096  # In bfloat16 the sum stops at 256.


def test_pixels_that_do_not_count_may_be_infinite():
    """A place on a pixel weighs its neighbour by 0, which must not make NaN of it."""
    x = jnp.array([1.0, jnp.inf, 3.0]).reshape(1, 3, 1)
    y = resize(x, size=5, method="linear", align="corners").ravel()
    assert y.tolist() == [1, jnp.inf, jnp.inf, jnp.inf, 3]


def operations(step, x):
    def both(x):
        y, pull = jax.vjp(step, x)
        return y, pull(y)

    return set(re.findall(r"stablehlo\.([a-z_]+)", jax.jit(both).lower(x).as_text()))


@pytest.mark.parametrize(("method", "align"), KINDS)
def test_no_backward_scatters(method, align):
    for size in (5, 16, 200):
        step = functools.partial(resize, size=size, method=method, align=align)
        assert "scatter" not in operations(step, jnp.zeros((2, 8, 8, 3)))


def test_a_map_of_many_taps_is_reduced_and_of_few_added(random):
    for taps in (3, FEW + 1):
        rows = np.repeat(np.arange(4), taps)
        columns = np.concatenate([random.permutation(20)[:taps] for _ in range(4)])
        values = random.normal(size=rows.size)
        dense = np.zeros((4, 20))
        dense[rows, columns] = values
        x = random.normal(size=(2, 20, 3))
        one = Taps(4, 20, rows, columns, values)
        np.testing.assert_allclose(
            mapped(jnp.asarray(x), [one]), np.einsum("oi,nic->noc", dense, x)
        )
        y = random.normal(size=(2, 4, 3))
        got = mapped(jnp.asarray(y), [one.transposed])
        np.testing.assert_allclose(got, np.einsum("oi,noc->nic", dense, y), atol=1e-14)


@pytest.mark.parametrize("factor", [(2, 3), (1, 2), (3,), (2, 1, 2)])
def test_shuffling_counts_channels_as_pytorch_does(random, factor):
    image, pixels = (3, 2, 2)[: len(factor)], int(np.prod(factor))
    x = random.normal(size=(2, *image, 2 * pixels))
    y = np.empty((2, *(n * r for n, r in zip(image, factor, strict=True)), 2))
    for n, *place, c in np.ndindex(*x.shape):
        channel, *inside = np.unravel_index(c, (2, *factor))
        where = (p * r + i for p, r, i in zip(place, factor, inside, strict=True))
        y[n, *where, channel] = x[n, *place, c]
    np.testing.assert_array_equal(pixel_shuffle(x, factor=factor), y)
    np.testing.assert_array_equal(pixel_unshuffle(y, factor=factor), x)
    delta = jnp.asarray(random.normal(size=y.shape))
    _, pull = jax.vjp(functools.partial(pixel_shuffle, factor=factor), jnp.asarray(x))
    np.testing.assert_array_equal(pull(delta)[0], pixel_unshuffle(delta, factor=factor))
    _, pull = jax.vjp(functools.partial(pixel_unshuffle, factor=factor), jnp.asarray(y))
    np.testing.assert_array_equal(pull(jnp.asarray(x))[0], pixel_shuffle(x, factor=factor))


@pytest.mark.parametrize("rule", [resize, pixel_shuffle, pixel_unshuffle])
def test_nothing_is_saved(rule):
    settings = {"size": 8} if rule is resize else {"factor": 2}
    ledger = jnn.residuals(functools.partial(rule, **settings), jnp.zeros((2, 4, 4, 8)))
    assert ledger.hand == ()


def resized_by(back):
    def backward(to, delta, **settings):
        maps = [Taps(t.inputs, t.outputs, *back(t)) for t in to.maps]
        return (mapped(delta, maps),)

    return resize.replace(backward=backward)


def reversed_taps(t):
    return t.columns, t.rows, t.values


def without_the_border(t):
    """As if every new pixel lay between two old ones: a clamped place counts half at the border."""
    border = np.bincount(t.rows, minlength=t.outputs)[t.rows] == 1
    return t.columns, t.rows, np.where(border, 0.5 * t.values, t.values)


def one_neighbour_alone(t):
    _, order = np.unique(t.rows, return_index=True)
    return t.columns[order], t.rows[order], t.values[order]


def of_the_way_forward(t):
    """Each pixel averages the new ones, as resizing back does: not the transpose."""
    total = np.bincount(t.columns, t.values, minlength=t.inputs)
    return t.columns, t.rows, t.values / total[t.columns]


@pytest.mark.parametrize("back", [without_the_border, one_neighbour_alone, of_the_way_forward])
def test_planted_errors_are_found(back):
    suites = ["agreement", "transpose"]
    assert not jnn.verify.check(resized_by(back), suites=suites).ok
    assert jnn.verify.check(resized_by(reversed_taps), suites=suites).ok


def test_a_shuffle_by_the_other_order_is_found():
    def depth_to_space(_, delta, *, factor):
        n, height, width, c = delta.shape
        r, s = factor
        split = delta.reshape(n, height // r, r, width // s, s, c)
        return (split.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // r, width // s, r * s * c),)

    x = np.random.default_rng(0).normal(size=(1, 2, 2, 8))
    wrong = pixel_shuffle.replace(backward=depth_to_space)
    assert not jnn.verify.check(wrong, (x,), settings={"factor": (2, 2)}, suites=["agreement"]).ok


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda x: resize(x, size=0), "resize: `size` must be a positive integer, got 0"),
        (lambda x: resize(x, size=(1, 2, 3)), "`size` must be an integer or 2 of them"),
        (
            lambda x: resize(x, size=4, method="cubic"),
            "`method` must be one of 'nearest', 'linear'",
        ),
        (
            lambda x: resize(x, size=4, align="corners"),
            "`align` must be one of 'starts', 'centres'",
        ),
        (lambda x: resize(x[0, 0], size=4), "must be images"),
        (lambda x: pixel_shuffle(x, factor=2), "images of a multiple of 4 channels, got float"),
        (lambda x: pixel_unshuffle(x, factor=3), r"images of which \(3, 3\) divides the size"),
        (lambda x: jnn.resize()((), x), "resize: `size` must be given, or `factor`"),
    ],
)
def test_what_does_not_fit_says_so(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(jnp.zeros((2, 4, 4, 3)))


def test_the_layers(random):
    x = jnp.asarray(random.normal(size=(2, 4, 6, 8)))
    for net, want in (
        (jnn.resize(5), resize(x, size=5)),
        (jnn.resize(factor=(2, 3), method="linear"), resize(x, size=(8, 18), method="linear")),
        (jnn.pixel_shuffle(2), pixel_shuffle(x, factor=2)),
        (jnn.pixel_unshuffle((2, 3)), pixel_unshuffle(x, factor=(2, 3))),
    ):
        assert net.init(jax.random.key(0), x) == ((), ())
        np.testing.assert_array_equal(net((), x), want)
