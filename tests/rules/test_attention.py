"""Attention against loops in NumPy and PyTorch; blocks, bad input, wrong backwards, memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

import jnn
from jnn.arithmetic import nonzero
from jnn.rules.attention import defaults, products
from jnn.rules.attention.attention import _sight, attention, attention_backward
from jnn.rules.attention.lots import dropped, seed_of
from jnn.rules.attention.products import by_head, by_place, multiply, told
from jnn.rules.attention.sight import Sight, cut, meetings
from jnn.rules.attention.ways import blocks
from jnn.verify import check


@pytest.fixture
def in_float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def in_small_blocks(monkeypatch):
    """Everything in blocks of four places."""
    monkeypatch.setattr(blocks, "SIZE", 4)
    monkeypatch.setattr(defaults, "AT_ONCE", 0)


def loops(q, k, v, mask=None, *, causal=False, window=None, scale=None):
    """Attention a query at a time, over the list of the keys that it sees."""
    batch, time, heads, size = q.shape
    group, scale = heads // k.shape[2], size**-0.5 if scale is None else scale
    y = np.zeros((batch, time, heads, v.shape[-1]))
    for b, i, h in np.ndindex(batch, time, heads):
        keys = [
            j
            for j in range(k.shape[1])
            if (not causal or j <= i)
            and (window is None or i - j < window)
            and (
                mask is None or np.broadcast_to(mask, (batch, heads, time, k.shape[1]))[b, h, i, j]
            )
        ]
        if keys:
            s = np.array([scale * q[b, i, h] @ k[b, j, h // group] for j in keys])
            p = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
            y[b, i, h] = sum(each * v[b, j, h // group] for each, j in zip(p, keys, strict=True))
    return y


# time, key time, group, whether masked, settings
CASES = {
    "plain": (10, 10, 1, None, {}),
    "causal": (11, 11, 1, None, {"causal": True}),
    "grouped": (9, 9, 3, None, {"causal": True}),
    "window": (17, 17, 2, None, {"causal": True, "window": 5}),
    "window of one": (9, 9, 1, None, {"causal": True, "window": 1}),
    "more keys": (6, 13, 1, None, {"causal": True}),
    "fewer keys": (13, 6, 2, None, {"causal": True, "window": 3}),
    "cross": (5, 14, 2, None, {"scale": 0.3}),
    "mask": (10, 7, 2, "each", {}),
    "shared mask": (7, 10, 1, "shared", {"causal": True}),
    "filled up": (9, 10, 2, "filled", {}),  # One row of the mask for all queries.
}
EVERY = pytest.mark.parametrize("name", CASES)


def drawn(random, name):
    time, keys, group, masked, settings = CASES[name]
    q = random.normal(size=(2, time, 2 * group, 3))
    k, v = random.normal(size=(2, keys, 2, 3)), random.normal(size=(2, keys, 2, 5))
    mask = None
    if masked == "filled":
        mask = np.arange(keys)[None] < np.array([[6], [0]])  # One has no keys at all.
        mask = mask[:, None, None]
    elif masked:
        shape = (2, 2 * group) if masked == "each" else (1, 1)
        mask = random.uniform(size=(*shape, time, keys)) < 0.5
        mask[:, :, 3] = False  # A query that sees nothing.
    return (q, k, v, mask), settings


def told_by(args, settings, mode, second=False):
    """Value and gradient, or the gradient of a function of the gradient, in one program."""
    *arrays, mask = args

    def loss(*arrays):
        y = attention(*arrays, mask, **settings)
        return (jnp.sin(y) * y).sum(), y

    def slope(*arrays):
        return sum((g * jnp.cos(g)).sum() for g in jax.grad(loss, (0, 1, 2), True)(*arrays)[0])

    with jnn.derivatives(mode):
        wanted = jax.grad(slope, (0, 1, 2)) if second else jax.value_and_grad(loss, (0, 1, 2), True)
        return jax.jit(wanted)(*arrays)


@EVERY
def test_values_are_those_of_loops(random, in_float64, name):
    args, settings = drawn(random, name)
    np.testing.assert_allclose(attention(*args, **settings), loops(*args, **settings), atol=1e-12)


@EVERY
def test_blocks_give_the_same(random, in_float64, in_small_blocks, name):
    args, settings = drawn(random, name)
    (_, y), slopes = told_by(args, settings, "backward")
    np.testing.assert_allclose(y, loops(*args, **settings), atol=1e-12)
    _, theirs = told_by(args, settings, "autodiff")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), slopes, theirs)


@pytest.mark.slow
@EVERY
def test_second_derivatives_of_blocks(random, in_float64, in_small_blocks, name):
    args, settings = drawn(random, name)
    ours, theirs = (told_by(args, settings, m, second=True) for m in ("backward", "autodiff"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), ours, theirs)


@pytest.mark.parametrize("name", ["grouped", "fewer keys", "mask"])
def test_tangents_of_blocks(random, in_float64, in_small_blocks, name):
    (*arrays, mask), settings = drawn(random, name)
    directions = tuple(random.normal(size=a.shape) for a in arrays)

    def pushed(mode):
        with jnn.derivatives(mode):
            return jax.jvp(lambda *a: attention(*a, mask, **settings), tuple(arrays), directions)

    ours, theirs = pushed("forward"), pushed("autodiff")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), ours, theirs)


@EVERY
def test_pytorch(random, in_float64, name):
    torch = pytest.importorskip("torch", reason="compared with PyTorch")
    (q, k, v, mask), settings = drawn(random, name)
    delta = random.normal(size=(*q.shape[:3], v.shape[-1]))
    y, pull = jax.vjp(lambda *a: attention(*a, mask, **settings), q, k, v)
    seen = np.ones((q.shape[1], k.shape[1]), bool)
    if settings.get("causal"):
        seen = np.tril(seen) & ~np.tril(seen, -settings.get("window", 99))
    seen = seen if mask is None else seen & mask
    tensors = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *(a.transpose(1, 2) for a in tensors), attn_mask=torch.tensor(seen),
        scale=settings.get("scale"), enable_gqa=True,
    ).transpose(1, 2)  # fmt: skip
    sees = np.broadcast_to(seen, (*np.shape(y)[:1], q.shape[2], *seen.shape[-2:])).any(-1)
    # PyTorch has NaN, or the mean, where nothing is seen.
    sees = np.asarray(sees).swapaxes(1, 2)[..., None]
    theirs = torch.where(torch.tensor(sees.copy()), theirs, torch.zeros_like(theirs))
    theirs.backward(torch.tensor(delta))
    np.testing.assert_allclose(y, theirs.detach().numpy(), atol=1e-9)
    for ours, tensor in zip(pull(delta), tensors, strict=True):
        np.testing.assert_allclose(ours, np.nan_to_num(tensor.grad.numpy()), atol=1e-9)


@pytest.mark.parametrize("way", ["whole", "blocks"])
def test_a_query_that_sees_nothing_has_zeros(random, in_small_blocks, monkeypatch, way):
    monkeypatch.setattr(products.value, "default", lambda call: way)
    monkeypatch.setattr(products.cotangents, "default", lambda call: way)
    q, k, v = (jnp.asarray(random.normal(size=(1, 9, 2, 4)), jnp.float32) for _ in range(3))
    mask = np.ones((1, 1, 9, 9), bool)
    mask[:, :, [0, 5]] = False
    y, pull = jax.vjp(lambda *a: attention(*a, mask), q, k, v)
    dq, *others = pull(jnp.ones_like(y))
    assert not np.asarray(y)[:, [0, 5]].any()
    assert not np.asarray(dq)[:, [0, 5]].any()
    assert all(np.isfinite(a).all() for a in (y, dq, *others))


def test_half_precision_is_summed_in_float32(random, in_small_blocks):
    arrays = [jnp.asarray(random.normal(size=(1, 40, 2, 8)), jnp.bfloat16) for _ in range(3)]
    y, pull = jax.vjp(lambda *a: attention(*a, causal=True), *arrays)
    exact, wide = jax.vjp(
        lambda *a: attention(*a, causal=True), *(a.astype(jnp.float32) for a in arrays)
    )
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=2e-2)
    for ours, theirs in zip(pull(y), wide(exact), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), theirs, atol=3e-2)


def test_on_eight_devices(random, in_small_blocks):
    mesh = jax.make_mesh((4, 2), ("batch", "heads"), axis_types=(AxisType.Auto,) * 2)
    arrays = [jnp.asarray(random.normal(size=(4, 10, 4, 3)), jnp.float32) for _ in range(3)]

    def slopes(*arrays):
        return jax.grad(lambda *a: (attention(*a, causal=True) ** 2).sum(), (0, 1, 2))(*arrays)

    where = PartitionSpec("batch", None, "heads")
    spread = jax.shard_map(slopes, mesh=mesh, in_specs=where, out_specs=where)
    for ours, theirs in zip(jax.jit(spread)(*arrays), slopes(*arrays), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_vmap(random, in_small_blocks):
    q, k, v = (jnp.asarray(random.normal(size=(3, 1, 9, 2, 4)), jnp.float32) for _ in range(3))
    mapped = jax.vmap(lambda q, v: attention(q, k[0], v, causal=True))(q, v)
    for y, *args in zip(mapped, q, v, strict=True):
        np.testing.assert_allclose(y, attention(args[0], k[0], args[1], causal=True), atol=1e-5)


def test_each_probability_is_left_out_by_chance(random):
    """Values that are a unit matrix show the probabilities."""
    q, k = (jnp.asarray(random.normal(size=(2, 40, n, 3)), jnp.float32) for n in (4, 2))
    v = jnp.broadcast_to(jnp.eye(40)[None, :, None], (2, 40, 2, 40))
    p, y, z = (
        attention(q, k, v, None, jax.random.key(seed), rate=rate)
        for seed, rate in ((1, 0.0), (1, 0.3), (2, 0.3))
    )
    kept = np.asarray(y) != 0
    np.testing.assert_allclose(y, np.where(kept, p / 0.7, 0), rtol=1e-5)
    for axes in ((0, 1, 2), (0, 2, 3), (1, 2, 3), (0, 1, 3)):  # The same share in every part.
        np.testing.assert_allclose(kept.mean(axes), 0.7, atol=0.09)
    assert 0.5 < (kept == (np.asarray(z) != 0)).mean() < 0.65  # 0.58 for another key.
    assert 0.5 < (kept[:, 1:] == kept[:, :-1]).mean() < 0.65
    assert not attention(q, k, v, None, jax.random.key(1), rate=1.0).any()


def test_blocks_leave_out_the_same(random, in_float64, in_small_blocks):
    (q, k, v, _), settings = drawn(random, "fewer keys")
    arrays, key = (q, k, v), jax.random.key(5)
    directions = tuple(random.normal(size=a.shape) for a in arrays)

    @functools.partial(jax.jit, static_argnums=0)
    def told(_, *arrays):
        f = functools.partial(attention, rate=0.4, **settings)
        y, pull = jax.vjp(lambda *a: f(*a, None, key), *arrays)
        return y, pull(jnp.cos(y))

    def pushed(mode, *arrays):
        with jnn.derivatives(mode):
            f = functools.partial(attention, rate=0.4, **settings)
            return jax.jvp(lambda *a: f(*a, None, key), arrays, directions)

    ours = told("backward", *arrays), pushed("forward", *arrays)
    with jnn.derivatives("autodiff"):
        theirs = told("autodiff", *arrays), pushed("autodiff", *arrays)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), ours, theirs)


def test_only_pairs_that_meet_are_visited():
    four = cut(4096, 1024)
    assert len(meetings(four, four, Sight(1.0))) == 16
    assert len(meetings(four, four, Sight(1.0, True))) == 10  # M-39
    assert len(meetings(four, four, Sight(1.0, True, 1024))) == 7
    assert len(meetings(four, cut(1024, 1024), Sight(1.0, True, 100))) == 2
    assert [b.start for b in cut(300, 128).blocks()] == [0, 104, 196]


def temporaries(time, **settings):
    like = jax.ShapeDtypeStruct((1, time, 2, 16), jnp.float32)

    def slopes(q, k, v):
        return jax.grad(lambda *a: attention(*a, **settings).sum(), (0, 1, 2))(q, k, v)

    memory = jax.jit(slopes).lower(like, like, like).compile().memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes


@pytest.mark.parametrize("settings", [{}, {"causal": True}])
def test_memory_grows_with_the_length(settings):
    assert temporaries(2048, **settings) < 2.2 * temporaries(1024, **settings)
    with jnn.derivatives("autodiff"):
        assert temporaries(1024, **settings) > 2.2 * temporaries(512, **settings)


# Wrong backwards, each of which somebody has shipped or might.


def wrong(error):
    """The backward of whole rows, written once more with an error in it."""

    def backward(saved, delta, *, causal, window, scale, rate):
        q, k, v, mask, key, y, m, total = saved
        sight = _sight(q, causal, window, scale)
        if error == "a window that is off by one":
            sight = sight._replace(window=None if window is None else window + 1)
        if error == "no mask":
            mask = None
        e, d = _exponentials(q, k, mask, m, sight), (delta * y).sum(-1, keepdims=True)
        d = jnp.zeros_like(d) if error == "no D" else by_head(d, k)
        p = e if error == "no normaliser" else e / by_head(nonzero(total)[..., None], k)
        dp, kept = multiply("bhgqd,bkhd->bhgqk", by_head(delta, k), v), jnp.ones_like(p)
        for seed in () if key is None else seed_of(key, rate):
            i, j = (jnp.arange(n) for n in kept.shape[-2:])
            kept = dropped(kept, seed, rate, i, j, len(i))
        dp = dp if error == "dp of what is left out" else kept * dp
        ds = p * (dp - d.reshape(*dp.shape[:-1], 1))
        dq = sight.scale * multiply("bhgqk,bkhd->bhgqd", ds, k)
        dk = (1 if error == "dk without scale" else sight.scale) * multiply(
            "bhgqk,bhgqd->bhgkd", ds, by_head(q, k)
        )
        p = p if error == "dv of what is left out" else kept * p
        dv = multiply("bhgqk,bhgqd->bhgkd", p, by_head(delta, k))
        if error == "the first of a group alone":
            dk, dv = dk[:, :, 0], dv[:, :, 0]
        else:
            dk, dv = dk.sum(2), dv.sum(2)
        return by_place(dq), dk.swapaxes(1, 2), dv.swapaxes(1, 2), None, None

    return backward


def _exponentials(q, k, mask, m, sight):
    i, j = np.arange(q.shape[1])[:, None], np.arange(k.shape[1])[None]
    seen = np.ones((len(i), j.size), bool) if not sight.causal else np.asarray(sight.seen(i, j))
    if mask is not None:
        seen = told((mask, sight), k)[0] & seen[None, None, None]
    s = sight.scale * multiply("bhgqd,bkhd->bhgqk", by_head(q, k), k)
    seen = jnp.broadcast_to(seen, s.shape)
    return jnp.exp(jnp.where(seen, s, -jnp.inf) - by_head(m[..., None], k))


ERRORS = ["no D", "dk without scale", "the first of a group alone", "no mask",
          "a window that is off by one", "no normaliser", "dp of what is left out",
          "dv of what is left out"]  # fmt: skip


def test_the_backward_without_an_error_is_right():
    assert check(attention.replace(backward=wrong("none")), suites=["agreement"]).ok


@pytest.mark.parametrize("error", ERRORS)
def test_wrong_backwards_are_rejected(error):
    assert not check(attention.replace(backward=wrong(error)), suites=["agreement"]).ok


def test_a_tangent_without_the_normaliser_s_is_rejected():
    def tangent(primals, tangents, **settings):
        (q, k, _, mask, _), (dq, dk, *_) = primals, tangents
        y, dy = attention.parts.tangent(primals, tangents, **settings)
        _, (*_, m, total) = attention.parts.forward(*primals, **settings)
        sight = _sight(q, *settings.values())
        p = _exponentials(q, k, mask, m, sight) / by_head(nonzero(total)[..., None], k)
        ds = multiply("bhgqd,bkhd->bhgqk", by_head(dq, k), k)
        ds = ds + multiply("bhgqd,bkhd->bhgqk", by_head(q, k), dk)
        return y, dy + sight.scale * by_place((p * ds).sum(-1, keepdims=True)) * y

    assert not check(attention.replace(tangent=tangent), suites=["agreement"]).ok


def test_a_cotangent_of_zero_gives_zeros(random):
    q, k, v = (jnp.asarray(random.normal(size=(1, 5, 2, 4)), jnp.float32) for _ in range(3))
    settings = {"causal": True, "window": None, "scale": None, "rate": 0.0}
    y, saved = attention.parts.forward(q, k, v, None, None, **settings)
    *slopes, _, _ = attention_backward(saved, jnp.zeros_like(y), **settings)
    assert not any(np.asarray(slope).any() for slope in slopes)


X = jnp.ones((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("args", "settings", "words"),
    [
        ((X[0], X, X), {}, "rank 4"),
        ((X, X[..., :4], X), {}, "to fit `q`"),
        ((X, X[:1], X), {}, "to fit `q`"),
        ((X, X[:, :, :3], X[:, :, :3]), {}, "divides 4"),
        ((X, X, X[:, :2]), {}, "Each key has one value"),
        ((X, X, X.astype(jnp.bfloat16)), {}, "of the dtype of `q`"),
        ((X, X, X, jnp.ones((2, 4, 3, 3))), {}, "True where a query sees a key"),
        ((X, X, X, jnp.ones((3, 3), bool)), {}, "1 or 2, 1 or 4, 1 or 3, 3"),
        ((X, X, X), {"window": 2}, "add causal=True"),
        ((X, X, X), {"causal": True, "window": 0}, "a positive integer"),
        ((X, X, X), {"causal": 1}, "True or False"),
        ((X, X, X), {"scale": "big"}, "a number"),
        ((X, X, X), {"rate": 2}, "between 0 and 1"),
        ((X, X, X), {"rate": 0.5}, "one random key"),
    ],
)
def test_bad_input(args, settings, words):
    with pytest.raises((ValueError, TypeError), match=r"attention: .*") as caught:
        attention(*args, **settings)
    assert words in str(caught.value)


@pytest.mark.usefixtures("in_small_blocks")
def test_what_depends_on_places_alone_is_not_kept_of_all_blocks():
    """`jax.checkpoint` computes what no argument has part in once, for all turns of a loop."""
    q = jax.ShapeDtypeStruct((1, 12, 1, 2), jnp.float32)

    def layers(q):
        def layer(x, _):
            return jnn.rules.attention(x, x, x, causal=True), None

        return jax.lax.scan(jax.checkpoint(layer, prevent_cse=False), q, length=2)[0].sum()

    text = str(jax.make_jaxpr(jax.grad(layers))(q))
    assert "bool[1,1,1,4,4]" in text
    assert "bool[6,1,1,1,4,4]" not in text  # Of six pairs.
