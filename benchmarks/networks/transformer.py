"""A language model's step: `jnn.models.transformer`, the same by Flax's modules, and by PyTorch."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from benchmarks.modern.contest import Contest, with_torch
from benchmarks.networks import steps
from jnn import rules
from jnn.layers.combinators.head import headless
from jnn.measure import Program

GOAL = "1.5 times Flax's speed in 0.3 of its temporaries, and no slower than PyTorch"
# Layers, size, heads, context, vocabulary, batch.
SIZES = (4, 256, 8, 512, 8192, 8)
EPSILON, BASE = 1e-6, 1e4
BLOCK = ("norm", "q", "k", "v", "out", "norm2", "gate", "up", "down")


def contests(quick: bool) -> list[Contest]:
    """The model of the goal."""
    sizes = (2, 16, 2, 8, 32, 2) if quick else SIZES
    layers, size, heads, context, vocabulary, batch = sizes
    title = (
        f"{layers} layers, {size} wide, {heads} heads, context {context}, vocabulary {vocabulary}, "
        f"batch {batch}"
    )
    told = partial(steps.moments, ours=_flat, theirs=_from_flax)
    return steps.in_each(title, partial(_contenders, *sizes), GOAL, told)


def _contenders(
    layers: int, size: int, heads: int, context: int, vocabulary: int, batch: int, dtype: str
) -> dict[str, Program]:
    net = jnn.models.transformer(vocabulary, size, heads, layers)
    ids = np.random.default_rng(0).integers(0, vocabulary, (batch, context + 1)).astype(np.int32)
    x, t = ids[:, :-1], ids[:, 1:]
    params, _ = jax.jit(net.init)(jax.random.key(0), x)
    without = headless(net)

    def loss(params: Any, x: Any, t: Any) -> jax.Array:
        """As `fit` has it."""
        assert without is not None
        head, _ = without(params, (), x, None, True)
        return rules.linear_cross_entropy(head.x, head.w, t, head.b)

    found = steps.ours(steps.computed_in(dtype, loss), params, x, t)
    flat = _flat(params)
    try:
        theirs = _flax(vocabulary, size, heads, layers, flat["0.gate"].shape[1])
        theirs = steps.computed_in(dtype, theirs)
        tree = {n: {ENTRY.get(n.split(".")[-1], "kernel"): a} for n, a in flat.items()}
        found["Flax, optax"] = steps.with_optax(theirs, tree, x, t)
    except ImportError:
        pass
    data = x.astype(np.int64), t.astype(np.int64)
    return found | with_torch(
        lambda n: steps.by_torch(
            partial(_torch, heads, layers), flat, *data, threads=n, dtype=dtype
        )
    )


def _flat(params: Any) -> dict[str, np.ndarray]:
    """Our parameters by name, those of each block apart."""
    embedding, repeated, norm, _ = params
    (((first, attention),), ((second, gated),)) = repeated.each
    arrays = first.scale, *attention[:4], second.scale, *gated[:3]
    blocks = {
        f"{i}.{name}": np.asarray(a[i])
        for i in range(len(first.scale))
        for name, a in zip(BLOCK, arrays, strict=True)
    }
    return {"table": np.asarray(embedding.w), "norm": np.asarray(norm.scale)} | blocks


def _flax(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> Any:
    """The loss of its variables, by Flax's modules and `jax.nn`'s attention."""
    import optax  # pyright: ignore[reportMissingImports]
    from flax import linen as nn  # pyright: ignore[reportMissingImports]

    dense = partial(nn.Dense, use_bias=False)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            table = nn.Embed(vocabulary, size, name="table")
            y = table(x)
            for i in range(layers):
                n = nn.RMSNorm(EPSILON, name=f"{i}.norm")(y)
                q, k, v = (dense(size, name=f"{i}.{c}")(n) for c in "qkv")
                q, k, v = (a.reshape(*a.shape[:2], heads, -1) for a in (q, k, v))
                a = jax.nn.dot_product_attention(_rotated(q), _rotated(k), v, is_causal=True)
                y = y + dense(size, name=f"{i}.out")(a.reshape(y.shape))
                n = nn.RMSNorm(EPSILON, name=f"{i}.norm2")(y)
                gate, up = (dense(hidden, name=f"{i}.{c}")(n) for c in ("gate", "up"))
                y = y + dense(size, name=f"{i}.down")(nn.silu(gate) * up)
            return table.attend(nn.RMSNorm(EPSILON, name="norm")(y))

    def loss(params: Any, x: Any, t: Any) -> jax.Array:
        logits: Any = Model().apply({"params": params}, x)
        logits = logits.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, t).mean()

    return loss


def _rotated(x: jax.Array) -> jax.Array:
    half = x.shape[-1] // 2
    rates = BASE ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = (jnp.arange(x.shape[1], dtype=jnp.float32)[:, None] * rates[None])[None, :, None]
    a, b = jnp.split(x, 2, axis=-1)
    cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


ENTRY = {"table": "embedding", "norm": "scale", "norm2": "scale"}


def _from_flax(tree: Any) -> dict[str, Any]:
    return {name: a for name, each in tree.items() for a in each.values()}


def _torch(heads: int, layers: int, torch: Any, p: Any, x: Any, t: Any) -> Any:
    f = torch.nn.functional
    size = p["table"].shape[1]
    half = size // heads // 2
    rates = BASE ** (-torch.arange(half) / half)
    angles = (torch.arange(x.shape[1])[:, None] * rates)[:, None]
    cos, sin = angles.cos(), angles.sin()

    def rotated(a: Any) -> Any:
        a, b = a.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    y = f.embedding(x, p["table"])
    for i in range(layers):
        n = f.rms_norm(y, (size,), p[f"{i}.norm"], EPSILON)
        q, k, v = ((n @ p[f"{i}.{c}"]).unflatten(-1, (heads, -1)) for c in "qkv")
        q, k, v = (a.transpose(1, 2) for a in (rotated(q), rotated(k), v))
        a = f.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y + a.transpose(1, 2).flatten(-2) @ p[f"{i}.out"]
        n = f.rms_norm(y, (size,), p[f"{i}.norm2"], EPSILON)
        y = y + (f.silu(n @ p[f"{i}.gate"]) * (n @ p[f"{i}.up"])) @ p[f"{i}.down"]
    logits = f.rms_norm(y, (size,), p["norm"], EPSILON) @ p["table"].T
    return f.cross_entropy(logits.flatten(0, 1), t.flatten())
