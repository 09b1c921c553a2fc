"""A training step of a language model as it is written in plain JAX: scan, checkpoint, Adam."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

BETAS, RATE, EPSILON = (0.9, 0.999), 1e-4, 1e-8


def structure(vocabulary: int, size: int, layers: int, hidden: int) -> dict[str, Any]:
    """Shapes of the parameters, those of the layers stacked, as `scan` takes them."""
    square, up = (layers, size, size), (layers, size, hidden)
    shapes = {
        "table": (vocabulary, size), "norm": (size,), "head": (size, vocabulary),
        "each": {
            "norm1": (layers, size), "q": square, "k": square, "v": square, "out": square,
            "norm2": (layers, size), "gate": up, "up": up, "down": (layers, hidden, size),
        },
    }  # fmt: skip
    return jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        shapes, is_leaf=lambda a: isinstance(a, tuple),
    )  # fmt: skip


def step_of(heads: int, rows: Any, checkpoint: bool = True) -> Any:
    """The step: parameters and both moments of Adam in float32, all else in bfloat16.

    Args:
      heads: of attention.
      rows: the sharding of a batch, to which each layer's input is held.
      checkpoint: whether a layer's backward computes its inside again.
    """

    def loss(params: Any, x: jax.Array, t: jax.Array) -> jax.Array:
        params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
        x = lax.with_sharding_constraint(params["table"][x], rows)

        def layer(x: jax.Array, p: Any) -> tuple[jax.Array, None]:
            return _block(lax.with_sharding_constraint(x, rows), p, heads), None

        x, _ = lax.scan(jax.checkpoint(layer) if checkpoint else layer, x, params["each"])
        logits = (_norm(x, params["norm"]) @ params["head"]).astype(jnp.float32)
        logits = lax.with_sharding_constraint(logits, rows)
        at = jnp.take_along_axis(logits, t[..., None], axis=-1)[..., 0]
        return (jax.nn.logsumexp(logits, axis=-1) - at).mean()

    def step(params: Any, state: Any, x: jax.Array, t: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, grads = jax.value_and_grad(loss)(params, x, t)
        count = state["count"] + 1
        a, b = BETAS
        m = jax.tree.map(lambda m, g: a * m + (1 - a) * g, state["m"], grads)
        v = jax.tree.map(lambda v, g: b * v + (1 - b) * g * g, state["v"], grads)
        of_m, of_v = 1 - a**count, 1 - b**count

        def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            return p - RATE * (m / of_m) / (jnp.sqrt(v / of_v) + EPSILON)

        return jax.tree.map(moved, params, m, v), {"m": m, "v": v, "count": count}, value

    return step


def _block(x: jax.Array, p: Any, heads: int) -> jax.Array:
    h = _norm(x, p["norm1"])
    q, k, v = ((h @ p[name]).reshape(*h.shape[:2], heads, -1) for name in "qkv")
    y = jax.nn.dot_product_attention(_rotated(q), _rotated(k), v, is_causal=True)
    x = x + y.reshape(x.shape) @ p["out"]
    h = _norm(x, p["norm2"])
    return x + (jax.nn.silu(h @ p["gate"]) * (h @ p["up"])) @ p["down"]


def _norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    r = lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + 1e-6)
    return (wide * r).astype(x.dtype) * scale[None, None]


def _rotated(x: jax.Array) -> jax.Array:
    half = x.shape[-1] // 2
    rates = 10000.0 ** (-jnp.arange(half) / half)
    angles = (jnp.arange(x.shape[1])[:, None] * rates[None])[None, :, None]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)
