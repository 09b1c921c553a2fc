"""Transformers: what they are made of, that they learn, and that they write what they say."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn import models
from jnn.models import generate, transformer
from jnn.models.transformers.reading import Places, read
from tests.draw import parameters

NOTHING: Any = None
VOCABULARY, PROMPT, STEPS = 19, 5, 7
TOTAL = PROMPT + STEPS
IDS = np.random.default_rng(2).integers(0, VOCABULARY, (2, TOTAL))


def test_it_is_embedding_blocks_norm_and_the_table_again():
    net = transformer(VOCABULARY, 8, 2, 2, hidden=12)
    params = parameters(net, IDS)
    inner = jnn.attention(2, causal=True, rotary=True)

    @jax.jit
    def both(params):
        w, each, final = params[0].w, params[1].each, params[2]
        x = w[IDS]
        for i in range(2):
            (((norm, attend),), ((other, mlp),)) = jax.tree.map(lambda a, i=i: a[i], each)
            x = x + inner(attend, jnn.rules.rms_norm(x, norm.scale))
            y = jnn.rules.rms_norm(x, other.scale)
            x = x + (jax.nn.silu(y @ mlp.w_gate) * (y @ mlp.w_up)) @ mlp.w_down
        return jnn.rules.rms_norm(x, final.scale) @ w.T, net(params, IDS)

    expected, y = both(params)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("settings", "count"), [
    ({}, 100 * 24 + 3 * (4 * 24**2 + 3 * 24 * 64 + 2 * 24) + 24),
    ({"key_value_heads": 2, "tied": False}, 200 * 24 + 3 * (3 * 24**2 + 3 * 24 * 64 + 48) + 24),
    ({"gated": False, "bias": True, "norm": "layer", "positions": "learned", "context": 9},
     (100 + 9) * 24 + 3 * (4 * (24**2 + 24) + 2 * 24 * 96 + 24 + 96 + 4 * 24) + 48),
])  # fmt: skip
def test_so_many_parameters(settings, count):
    net = transformer(100, 24, 4, 3, **settings)
    assert jnn.summary(net, jax.ShapeDtypeStruct((2, 9), jnp.int32)).parameters == count


CASES = {
    "a ring of three": transformer(VOCABULARY, 16, 4, 2, key_value_heads=2, window=3),
    "learned, with all biases": transformer(
        VOCABULARY, 8, 2, 2, positions="learned", context=TOTAL, norm="layer", gated=False,
        bias=True, activation="gelu", tied=False,
    ),
    "sinusoidal, with dropout": transformer(
        VOCABULARY, 8, 2, 1, positions="sinusoidal", context=TOTAL, dropout=0.5
    ),
    "recurrent": jnn.serial(
        jnn.embedding(VOCABULARY, 8), jnn.lstm(8), jnn.tanh(), jnn.gru(8), jnn.dense(VOCABULARY)
    ),
}  # fmt: skip


@pytest.mark.parametrize("net", CASES.values(), ids=CASES)
def test_what_is_written_with_a_memory_is_what_would_be_without(net):
    params = jax.tree.map(lambda a: 3 * a, parameters(net, IDS))  # Far from one another.
    written = np.asarray(generate(net, params, IDS[:, :PROMPT], STEPS, temperature=0))
    logits = np.asarray(jax.jit(net)(params, written))
    np.testing.assert_array_equal(written[:, :PROMPT], IDS[:, :PROMPT])
    np.testing.assert_array_equal(written[:, PROMPT:], logits[:, PROMPT - 1 : -1].argmax(-1))
    assert logits.std(1).max() > 0.1

    @jax.jit
    def in_parts(ids):
        y, memory = read(net, params, (), None, ids[:, :PROMPT], Places(0, TOTAL))

        def turn(memory, i):
            token = jax.lax.dynamic_slice_in_dim(ids, i, 1, 1)
            y, memory = read(net, params, (), memory, token, Places(i, TOTAL), last=True)
            return memory, y[:, 0]

        rest = jax.lax.scan(turn, memory, jnp.arange(PROMPT, TOTAL))[1]
        return jnp.concatenate([y, rest.swapaxes(0, 1)], 1)

    np.testing.assert_allclose(
        in_parts(written), logits, rtol=1e-4, atol=1e-5 * np.abs(logits).max()
    )


SMALL = transformer(VOCABULARY, 8, 2, 1, context=TOTAL)
PARAMS = parameters(SMALL, IDS)


def test_tokens_are_drawn_from_the_likeliest_by_their_shares():
    ids = jnp.tile(IDS[:1, :3], (4000, 1))
    draw = lambda **s: np.asarray(generate(SMALL, PARAMS, ids, 1, 7, **s))[:, 3]  # noqa: E731
    drawn = draw(temperature=0.5, top_k=4)
    logits = np.asarray(SMALL(PARAMS, IDS[:1, :3]))[0, -1]
    best = np.argsort(logits)[-4:]
    shares = np.exp(logits[best] / 0.5)
    found = np.array([(drawn == token).mean() for token in best])
    np.testing.assert_allclose(found, shares / shares.sum(), atol=0.04)
    assert found.sum() == 1
    assert len(np.unique(draw(temperature=jnp.float32(2.0)))) > 8
    np.testing.assert_array_equal(drawn, draw(temperature=0.5, top_k=4))


def test_a_single_row_a_key_and_nan():
    one = generate(SMALL, PARAMS, IDS[0, :3], 4, key=jax.random.key(1))
    assert one.shape == (7,)
    lost = jax.tree.map(lambda a: a * jnp.nan, PARAMS)
    few = IDS[0, :3].astype(np.uint8)
    assert generate(SMALL, lost, few, 4, temperature=0)[3:].tolist() == [-1] * 4


@pytest.mark.parametrize(("change", "message"), [
    ({"key": None}, "key.*temperature=0"),
    ({"ids": np.array([1, 19])}, r"token numbers, 0 \.\.\. 18, got 1 \.\.\. 19"),
    ({"ids": np.zeros((2, 0), int)}, "one at least"),
    ({"steps": 0}, "steps"),
    ({"steps": 40}, "12 places at most"),
    ({"top_k": 0}, "top_k"),
    ({"end": 19}, r"`end` must be None or a token number, 0 \.\.\. 18, got 19"),
    ({"temperature": -1.0}, "temperature"),
    ({"net": jnn.serial(jnn.embedding(19, 8), jnn.attention(2), jnn.dense(19))}, "causal=True"),
    ({"net": jnn.serial(jnn.embedding(19, 8), jnn.lstm(19, reverse=True))}, "forwards"),
    ({"net": jnn.serial(jnn.embedding(19, 8), jnn.conv(19, 3, padding="same"))}, "in parts"),
])  # fmt: skip
def test_what_cannot_be_written_gets_a_sentence(change, message):
    net = change.get("net", SMALL)
    params = PARAMS if net is SMALL else jax.eval_shape(net.init, jax.random.key(0), IDS)[0]
    params = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), params)
    given = {"net": net, "params": params, "ids": IDS[:, :3], "steps": 2, "key": 0, **change}
    with pytest.raises(ValueError, match=message):
        generate(**given)


def test_a_row_ends_at_its_token_and_the_loop_with_the_last_row(monkeypatch):
    """Against tokens chosen without a memory; the turns are counted."""
    net = CASES["recurrent"]
    params = jax.tree.map(lambda a: 3 * a, parameters(net, IDS))
    turns = []

    def counted(*given, **settings):
        jax.debug.callback(lambda: turns.append(1))
        return read(*given, **settings)

    monkeypatch.setattr("jnn.models.transformers.generate.read", counted)
    ids, end, steps = np.array([[1], [4], [9]]), 18, 40
    likeliest = jax.jit(lambda p, ids, i: net(p, ids)[:, i].argmax(-1))
    expected = np.concatenate([ids, np.zeros((3, steps), int)], 1)
    for i in range(steps):
        expected[:, i + 1] = likeliest(params, expected, i)
    at = (expected == end).argmax(1)
    assert at.tolist() == [9, 7, 1]
    expected[np.arange(steps + 1) >= at[:, None]] = end
    written = generate(net, params, ids, steps, temperature=0, end=end)
    jax.effects_barrier()
    np.testing.assert_array_equal(written, expected)
    assert len(turns) == 9  # Each chose a token.


def test_it_learns_a_line_and_writes_it():
    line = np.tile(np.frombuffer(b"hello attention! ", np.uint8), 8)
    x = np.stack([line[i : i + 16] for i in range(17 * 4)]).astype(np.int32)
    t = np.stack([line[i + 1 : i + 17] for i in range(17 * 4)]).astype(np.int32)
    net = transformer(128, 16, 2, 1)
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(0.02), (x, t), epochs=40, batch_size=17,
                  metrics="accuracy", progress=None)  # fmt: skip
    assert fit.history["accuracy"][-1] > 0.8
    written = generate(net, fit.params, line[:9].astype(int), 17, temperature=0)
    assert bytes(np.asarray(written, np.uint8)) == line[:26].tobytes()


def test_an_encoder_without_positions_sees_a_set():
    net = models.encoder(VOCABULARY, 8, 2, 2, 3, positions=None)
    params = parameters(net, IDS)
    y, z = (jax.jit(net)(params, ids) for ids in (IDS, IDS[:, ::-1]))
    assert y.shape == (2, 3)
    np.testing.assert_allclose(y, z, atol=1e-5)
    turned = models.encoder(VOCABULARY, 8, 2, 2, 3)
    assert np.abs(y - jax.jit(turned)(params, IDS)).max() > 1e-4


def test_vit_sees_patches_at_their_places(random):
    net = models.vit(3, patch=2, size=8, heads=2, layers=1)
    x = jnp.asarray(random.normal(size=(2, 4, 6, 1)), jnp.float32)
    params = parameters(net, x)
    assert params[2].shape == (6, 8)
    moved = x[:, :, jnp.array([2, 3, 0, 1, 4, 5])]
    y = jax.jit(net)
    assert np.abs(y(params, x) - y(params, moved)).max() > 1e-4
    without = (*params[:2], 0 * params[2], *params[3:])
    np.testing.assert_allclose(y(without, x), y(without, moved), atol=1e-5)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: transformer(9, 8, 2, 1, positions="absolute"), "positions"),
    (lambda: transformer(9, 8, 2, 1, positions="learned"), "context"),
    (lambda: transformer(9, 8, 2, 1, norm="batch"), "norm"),
    (lambda: transformer(9, 8, 2, 1, tied=NOTHING), "tied"),
    (lambda: models.encoder(9, 8, 2, 1, 0), "classes"),
    (lambda: models.transformer_block(8, 2, hidden=0), "hidden"),
])  # fmt: skip
def test_settings_are_checked(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
