"""Modern rules, at sizes of language models and residual networks."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.devices.case import Case, Struct, case
from jnn import rules


def cases(dtype: Any, quick: bool = False) -> Iterator[Case]:
    """Attention, norms, gates, recurrences, embedding, dropout and the fused loss."""

    def of(*shape: int) -> Any:
        return Struct(shape, dtype)

    batch, time, heads, size = (1, 8, 2, 4) if quick else (2, 2048, 8, 64)
    for length in (time, 2 * time, 4 * time):
        qkv = of(batch, length, heads, size)
        plain = partial(jax.nn.dot_product_attention, is_causal=True)
        yield case(f"attention, {length} tokens", rules.attention, plain, qkv, qkv, qkv,
                   causal=True)  # fmt: skip
    q, kv = of(batch, time, heads, size), of(batch, time, heads // 2, size)
    yield case("attention, 4 layers", _layers(partial(rules.attention, causal=True)),
               _layers(plain), q)  # fmt: skip
    yield case("attention, a window", rules.attention,
               partial(jax.nn.dot_product_attention, is_causal=True,
                       local_window_size=(time // 8 - 1, 0)),
               q, kv, kv, causal=True, window=time // 8)  # fmt: skip
    yield case("rotary", lambda x: rules.rotary(x, jnp.arange(time)), None, q)

    n, width = (6, 8) if quick else (8192, 1024)
    rows, scale = of(n, width), of(width)
    yield case("layer_norm", rules.layer_norm, _layer_norm, rows, scale, scale)
    yield case("rms_norm", rules.rms_norm, _rms_norm, rows, scale)
    image, channel = (of(2, 4, 4, 4), of(4)) if quick else (of(256, 32, 32, 64), of(64))
    norm = lambda *a: rules.batch_norm(*a)[0]  # noqa: E731
    yield case("batch_norm", norm, _batch_norm, image, channel, channel)
    yield case("group_norm", rules.group_norm, None, image, channel, channel,
               groups=channel.shape[0] // 4 or 1)  # fmt: skip
    filters = of(3, 3, *channel.shape * 2)
    yield case("norm_relu_conv", lambda *a: rules.norm_relu_conv(*a, padding="same")[0], None,
               image, channel, channel, filters, channel)  # fmt: skip

    hidden = 8 * width // 3
    yield case("gated", rules.gated, lambda g, u: jax.nn.silu(g) * u, rows, rows)
    yield case("gated_mlp", rules.gated_mlp,
               lambda x, g, u, d: (jax.nn.silu(x @ g) * (x @ u)) @ d,
               rows, of(width, hidden), of(width, hidden), of(hidden, width))  # fmt: skip
    samples, steps, units = (2, 5, 4) if quick else (64, 128, 256)
    x = of(samples, steps, units)
    for name, gates, biases in (("lstm", 4, 1), ("gru", 3, 2)):
        wide = of(units, gates * units)
        yield case(name, lambda *a, f=rules.registry[name]: f(*a)[0], None, x, wide, wide,
                   *[of(gates * units)] * biases)  # fmt: skip
    ids, table = Struct((n,), jnp.int32), of(4 * n, width)
    yield case("embedding", rules.embedding, lambda i, w: jnp.take(w, i, axis=0), ids, table)
    key = jax.eval_shape(lambda: jax.random.key(0))
    yield case("dropout", partial(rules.dropout, rate=0.1), _dropout, rows, key)
    classes, features = (16, 8) if quick else (32768, 1024)
    t = Struct((n // 2,), jnp.int32)
    yield case("linear_cross_entropy", lambda x, w, t: rules.linear_cross_entropy(x, w, t), _linear,
               of(n // 2, features), of(features, classes), t)  # fmt: skip


def _layers(attention: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Of four, each with a way past it: what one keeps is beside what the others keep."""

    def net(x: jax.Array) -> jax.Array:
        for _ in range(4):
            x = x + attention(x, x, x)
        return x

    return net


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)


def _layer_norm(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    mean, variance = _wide(x).mean(-1, keepdims=True), _wide(x).var(-1, keepdims=True)
    y = (_wide(x) - mean) * jax.lax.rsqrt(variance + 1e-5)
    return (y * _wide(scale)[None] + _wide(shift)[None]).astype(x.dtype)


def _rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    y = _wide(x) * jax.lax.rsqrt(jnp.square(_wide(x)).mean(-1, keepdims=True) + 1e-6)
    return (y * _wide(scale)[None]).astype(x.dtype)


def _batch_norm(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    mean, variance = (f(_wide(x), axis=(0, 1, 2), keepdims=True) for f in (jnp.mean, jnp.var))
    y = (_wide(x) - mean) * jax.lax.rsqrt(variance + 1e-5)
    return (y * _wide(scale)[None, None, None] + _wide(shift)[None, None, None]).astype(x.dtype)


def _dropout(x: jax.Array, key: jax.Array) -> jax.Array:
    kept = jax.random.bernoulli(key, 0.9, x.shape)
    return jnp.where(kept, x / jnp.asarray(0.9, x.dtype), jnp.zeros_like(x))


def _linear(x: jax.Array, w: jax.Array, t: jax.Array) -> jax.Array:
    logits = _wide(x @ w)
    at = jnp.take_along_axis(logits, t[:, None], axis=-1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=-1) - at).mean()
