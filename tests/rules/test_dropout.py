"""Dropout: how often, how independently, and the backward's mask is the forward's, wherever."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jnn
from jnn.rules import dropout
from jnn.rules.core.product import choices, products
from jnn.rules.pointwise import chance
from jnn.verify import check

KEY = jax.random.key(3)
SHAPES = ((), (0,), (1,), (17,), (3, 0), (4, 9), (2, 3, 5))
WAYS = ("key", "bits", "bytes")


class Only:
    """Chooses one implementation of the product `dropout.saved`, by value: `jit` knows it again."""

    def __init__(self, name):
        self.name = name

    def choose(self, product, call):
        return self.name if product is chance.saved else None

    def __eq__(self, other):
        return isinstance(other, Only) and self.name == other.name

    def __hash__(self):
        return hash(self.name)


# The bits.


@pytest.mark.parametrize(
    ("key", "counter", "bits"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_its_authors_numbers(key, counter, bits):
    """The known answers that Random123 is published with, Threefry-2x32 of 20 rounds."""
    found = chance.threefry(*(jnp.uint32(word) for word in (*key, *counter)))
    assert tuple(int(word) for word in found) == bits


@pytest.mark.parametrize("shape", SHAPES)
def test_fused_bits_are_those_of_jax(shape):
    key = jax.random.key(5)
    setting = shape, chance.share_kept(0.3), "threefry2x32"
    assert chance.mask.candidates(chance.mask.call(key, setting=setting)) == ("jax", "fused")
    got, want = (chance.mask.compute(name, key, setting=setting) for name in ("fused", "jax"))
    np.testing.assert_array_equal(got, want)


def test_other_generators_are_jax_s():
    for impl in ("rbg", "unsafe_rbg"):
        key = jax.random.key(0, impl=impl)
        call = chance.mask.call(key, setting=((3,), 7, impl))
        assert chance.mask.candidates(call) == ("jax",)
        y, dy = jax.vjp(lambda x, key=key: dropout(x, key, rate=0.5), jnp.ones((64, 8)))
        np.testing.assert_array_equal(y, dy(jnp.ones((64, 8)))[0])
        assert 0.4 < (y != 0).mean() < 0.6


def test_bits_that_do_not_go_by_place_are_not_fused():
    with jax.threefry_partitionable(False):
        call = chance.mask.call(KEY, setting=((3,), 7, "threefry2x32"))
        assert chance.mask.candidates(call) == ("jax",)
        x = jnp.ones((5, 7))
        with jnn.derivatives("autodiff"):
            want = dropout(x, KEY, rate=0.5)
        np.testing.assert_array_equal(dropout(x, KEY, rate=0.5), want)


# Chance.


@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.999])
def test_the_frequency_is_the_rate(rate):
    """Within five standard deviations of the binomial distribution."""
    n = 2**20
    dropped = int((dropout(jnp.ones((2**10, 2**10)), KEY, rate=rate) == 0).sum())
    assert abs(dropped - n * rate) < 5 * math.sqrt(n * rate * (1 - rate))


@pytest.mark.parametrize("rate", [1e-3, 0.1, 1 / 3, 0.5, 0.999])
def test_the_share_is_the_rate(rate):
    assert abs(1 - chance.share_kept(rate) / 2**32 - rate) <= 2**-33


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_the_mask_is_bernoulli_s(rate):
    """JAX's own compares the first 23 bits: at these rates it decides all of 4096 alike."""
    x = jnp.ones((64, 64))
    want = jax.random.bernoulli(KEY, 1 - rate, x.shape)
    np.testing.assert_array_equal(dropout(x, KEY, rate=rate) != 0, want)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_masks_are_independent(rate):
    """Between keys, rows, columns and shifted copies, the correlation is within five deviations."""
    n = 512
    masks = jax.vmap(lambda key: dropout(jnp.ones((n, n)), key, rate=rate) != 0)(
        jax.random.split(KEY, 3)
    )
    one, other, third = (np.asarray(m, np.float64) - (1 - rate) for m in masks)
    pairs = {
        "keys": (one, other),
        "neighbouring keys": (other, third),
        "rows": (one[1:], one[:-1]),
        "columns": (one[:, 1:], one[:, :-1]),
        "halves": (one[: n // 2], one[n // 2 :]),
        "halves of rows": (one[:, : n // 2], one[:, n // 2 :]),
        "turned": (one, one.T),
        "shifted": (one, np.roll(other, 1)),
    }
    for name, (a, b) in pairs.items():
        correlation = (a * b).mean() / (rate * (1 - rate))
        assert abs(correlation) < 5 / math.sqrt(a.size), name
    for axis in (0, 1):  # No row and no column is out of the ordinary.
        counts = (one + 1 - rate).sum(axis)
        assert abs(counts - n * (1 - rate)).max() < 6 * math.sqrt(n * rate * (1 - rate))


def test_an_old_key_is_the_typed_one():
    x = jnp.ones((7, 9))
    for way in WAYS:
        with choices(Only(way)):
            old, typed = (pulled(x, key) for key in (jax.random.key_data(KEY), KEY))
        np.testing.assert_array_equal(old, typed)


# What is kept, and how it is scaled.


def test_what_is_left_out_is_zero_whatever_it_was():
    x = jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1.0]).repeat(64)
    y, pull = jax.vjp(lambda x: dropout(x, KEY, rate=0.5), x)
    kept = np.asarray(jax.random.bits(KEY, x.shape) < jnp.uint32(2**31))
    np.testing.assert_array_equal(y, np.where(kept, 2 * x, 0))
    np.testing.assert_array_equal(pull(x)[0], np.where(kept, 2 * x, 0))
    assert not kept.all()
    assert not kept[:64].all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_scale_is_not_rounded_to_half_precision(dtype, random):
    x = jnp.asarray(random.normal(size=1000), dtype)
    y = dropout(x, KEY, rate=0.1)
    assert y.dtype == dtype
    want = (np.asarray(x, np.float64) / 0.9).astype(dtype)  # Rounded once.
    kept = np.asarray(y != 0)
    got, want = (np.asarray(a, np.float64)[kept] for a in (y, want))
    np.testing.assert_allclose(got, want, rtol=2 * float(jnp.finfo(jnp.float32).eps))


def test_the_ends():
    x = jnp.array([1.0, jnp.nan])
    for rate, want in ((0, x), (1, jnp.zeros(2)), (1.0, jnp.zeros(2)), (1 - 1e-12, jnp.zeros(2))):
        y, pull = jax.vjp(lambda x, rate=rate: dropout(x, KEY, rate=rate), x)
        np.testing.assert_array_equal(y, want)
        np.testing.assert_array_equal(pull(x)[0], want)


# The backward's mask is the forward's.


def pulled(x, key, rate=0.3):
    """What was kept on the way forward, and on the way back, each as booleans."""
    y, pull = jax.vjp(lambda x: dropout(x, key, rate=rate), x)
    return y != 0, pull(jnp.ones_like(y))[0] != 0


def scanned(x, key):
    """A loop over samples, each with a key of its own."""

    def total(x):
        def body(carry, each):
            i, row = each
            y = dropout(row, jax.random.fold_in(key, i), rate=0.3)
            return carry + y.sum(), y != 0

        return jax.lax.scan(body, 0.0, (jnp.arange(len(x)), x))

    (_, kept), dx = jax.value_and_grad(total, has_aux=True)(x)
    return kept, dx != 0


def recomputed(x, key):
    def total(x):
        y = dropout(jnp.sin(x), key, rate=0.3)
        return y.sum(), y != 0

    (_, kept), dx = jax.value_and_grad(jax.checkpoint(total), has_aux=True)(x)
    return kept, dx != 0


CALLS = {
    "plain": pulled,
    "jit": jax.jit(pulled),
    "vmap over x": lambda x, key: jax.vmap(pulled, (0, None))(x, key),
    "vmap over keys": lambda x, key: jax.vmap(pulled)(x, jax.random.split(key, len(x))),
    "vmap inside the vjp": lambda x, key: _whole(
        jax.vmap(lambda x, key: dropout(x, key, rate=0.3)), x, jax.random.split(key, len(x))
    ),
    "jit of scan": jax.jit(scanned),
    "jit of checkpoint": jax.jit(recomputed),
    "checkpoint": recomputed,
}


def _whole(function, x, keys):
    y, pull = jax.vjp(lambda x: function(x, keys), x)
    return y != 0, pull(jnp.ones_like(y))[0] != 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("call", CALLS)
def test_the_mask_is_one(call, way):
    with choices(Only(way)):
        kept, back = CALLS[call](jnp.ones((6, 21)), KEY)
    np.testing.assert_array_equal(kept, back)
    assert 0.5 < kept.mean() < 0.9
    if "keys" in call or "inside" in call or "scan" in call:  # Samples have masks of their own.
        assert not (kept[0] == kept[1]).all()


def test_masks_under_transformations_are_those_of_single_calls():
    x = jnp.ones((6, 21))
    keys = jax.random.split(KEY, 6)
    apart = jnp.stack([pulled(row, key)[0] for row, key in zip(x, keys, strict=True)])
    np.testing.assert_array_equal(CALLS["vmap over keys"](x, KEY)[0], apart)
    folded = [pulled(row, jax.random.fold_in(KEY, i))[0] for i, row in enumerate(x)]
    np.testing.assert_array_equal(CALLS["jit of scan"](x, KEY)[0], jnp.stack(folded))
    np.testing.assert_array_equal(CALLS["jit"](x, KEY)[0], pulled(x, KEY)[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", WAYS)
def test_shapes(way, shape):
    with choices(Only(way)):
        kept, back = pulled(jnp.ones(shape), KEY)
    np.testing.assert_array_equal(kept, back)


@pytest.mark.parametrize("axes", [AxisType.Auto, AxisType.Explicit])
@pytest.mark.parametrize("spec", [P("d"), P(None, "d")])
def test_on_a_mesh_the_mask_is_the_same(spec, axes, random):
    x = jnp.asarray(random.normal(size=(16, 32)), jnp.float32)

    @jax.jit
    def both(x, key):
        return jax.value_and_grad(lambda x: (dropout(x, key, rate=0.3) ** 2).sum())(x)

    _, want = both(x, KEY)
    mesh = jax.make_mesh((8,), ("d",), (axes,))
    with jax.set_mesh(mesh):
        laid = jax.device_put(x, NamedSharding(mesh, spec))
        _, dx = both(laid, KEY)
        np.testing.assert_array_equal(dx, want)
        text = jax.jit(jax.grad(lambda x: dropout(x, KEY, rate=0.3).sum())).lower(laid).compile()
        assert dx.sharding.is_equivalent_to(laid.sharding, 2) or axes is AxisType.Auto
    for word in ("all-gather", "all-to-all", "collective-permute"):
        assert word not in str(text.as_text()), word  # Each device draws its own bits.


def test_in_shard_map_a_key_of_its_own_makes_a_mask_of_its_own():
    mesh = jax.make_mesh((8,), ("d",), (AxisType.Auto,))

    def own(x, key):
        return dropout(x, jax.random.fold_in(key, jax.lax.axis_index("d")), rate=0.3)

    spread = jax.jit(jax.shard_map(own, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d")))
    kept, back = _whole(spread, jnp.ones((16, 32)), KEY)
    np.testing.assert_array_equal(kept, back)
    assert len({np.asarray(part).tobytes() for part in np.split(kept, 8)}) == 8


# What is saved.


@pytest.mark.parametrize(("way", "new"), [("key", 0), ("bits", 4 * 3), ("bytes", 4 * 21)])
def test_what_is_saved(way, new):
    with choices(Only(way)):
        ledger = jnn.residuals(functools.partial(dropout, rate=0.5), jnp.ones((4, 21)), KEY)
    assert ledger.bytes("hand", "new") == new


def test_a_step_keeps_no_mask():
    """In the compiled gradient of a stack, dropout adds less than a mask to what is kept."""
    w, x = jnp.ones((4, 256, 256)), jnp.ones((2048, 256))

    def stack(rate, w, x, key):
        for i in range(4):
            x = dropout(x @ w[i], jax.random.fold_in(key, i), rate=rate)
        return (x * x).sum()

    def temporaries(rate):
        gradient = jax.jit(jax.grad(functools.partial(stack, rate)))
        weighed: Any = gradient.lower(w, x, KEY).compile().memory_analysis()
        return weighed.temp_size_in_bytes

    assert temporaries(0.5) - temporaries(0.0) < x.size  # A byte a number, of one layer.


def test_several_platforms_at_once():
    with jnn.platform("cpu", "gpu"):
        y = jax.jit(lambda x: jax.grad(lambda x: dropout(x, KEY, rate=0.5).sum())(x))(jnp.ones(64))
    np.testing.assert_array_equal(y, dropout(jnp.ones(64), KEY, rate=0.5))


def test_every_way_is_tried_by_tune():
    found = jnn.tune(
        lambda x, key: dropout(x, key, rate=0.5).sum(), jnp.ones((8, 16)), KEY,
        budget=0.01, progress=False, whole=False,
    )  # fmt: skip
    trials = {row.product: {t.name: t.fault for t in row.trials} for row in found.rows}
    assert trials["dropout.saved"] == dict.fromkeys(WAYS, "")
    assert trials["dropout.mask"] == {"jax": "", "fused": ""}
    assert found.rows[0].product in products


# Bad input.


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_is_a_probability(rate):
    with pytest.raises(ValueError, match=r"dropout: `rate` must be between 0 and 1, got"):
        dropout(jnp.ones(3), KEY, rate=rate)


def test_a_traced_rate_says_what_to_do():
    with pytest.raises(TypeError, match="`rate` must be a constant"):
        jax.jit(lambda rate: dropout(jnp.ones(3), KEY, rate=rate))(0.5)


@pytest.mark.parametrize(
    "key", [0, jnp.zeros(2), jnp.zeros(3, jnp.uint32), jax.random.split(KEY, 3), None]
)
def test_a_key_is_one_key(key):
    with pytest.raises(TypeError, match=r"dropout: `key` must be one random key, e\.g\."):
        dropout(jnp.ones(3), key, rate=0.5)


def test_several_keys_are_for_vmap():
    with pytest.raises(TypeError, match=r"For one a sample: jax.vmap\("):
        dropout(jnp.ones((3, 2)), jax.random.split(KEY, 3), rate=0.5)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="dropout: `x` must be a floating array"):
        dropout(jnp.arange(3), KEY, rate=0.5)


# Planted errors.

backward = dropout.parts.backward


def another_key(key, delta, *, rate):
    return backward(jax.random.fold_in(key, 1), delta, rate=rate)


def another_shape(key, delta, *, rate):
    """As a mask drawn row by row, or of the array turned, would be."""
    return backward(key, delta.T, rate=rate)[0].T, None


def scale_forgotten(key, delta, *, rate):
    return (1 - rate) * backward(key, delta, rate=rate)[0], None


def scaled_by_what_was_kept(key, delta, *, rate):
    """By the mask's own mean in place of its expectation."""
    dx = backward(key, delta, rate=rate)[0] * (1 - rate)
    return dx / (dx != 0).mean(dtype=dx.dtype), None


def the_others(key, delta, *, rate):
    return delta / (1 - rate) - backward(key, delta, rate=rate)[0], None


def no_mask(key, delta, *, rate):
    return delta, None


FAULTS = (another_key, another_shape, scale_forgotten, scaled_by_what_was_kept, the_others, no_mask)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_error_is_found(fault, random):
    args = random.normal(size=(3, 4)), KEY
    wrong = dropout.replace(backward=fault)
    report = check(wrong, args=args, settings={"rate": 0.4}, suites=["agreement", "transpose"])
    assert "the cotangent of `x`" in report.findings[0]


@pytest.mark.parametrize("way", WAYS)
def test_check_passes_whatever_is_saved(way, random):
    args = random.normal(size=(3, 4)), KEY
    with choices(Only(way)):
        report = check(dropout, args=args, settings={"rate": 0.4},
                       suites=["agreement", "transforms", "devices", "determinism"])  # fmt: skip
    assert report.ok, str(report)
