"""Cross-entropy of the softmax, fused on logits: the loss of classification."""

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses import labels
from jnn.rules.losses.softmax import row_maximum, shares


@rule
def softmax_cross_entropy(
    logits: jax.Array,
    t: jax.Array,
    weights: jax.Array | None = None,
    *,
    smoothing: float = 0.0,
    ignore: int | None = None,
) -> jax.Array:
    """The entropy of targets t under `p = softmax(logits)`, one value a sample.

    `-sum_i w_i q_i log p_i` (H-24..27, X-45..53, T-10..12) with the targets `q = t`, smoothed to
    `(1 - smoothing) t + smoothing / n`. With u = w q and the cotangent v of its sample,

        dx = v (p sum(u) - u)    dt = -v (1 - smoothing) w log p    dw = -sum v q log p

    For targets that sum to 1 the first is the `p - t` of H-28..30, X-73 and T §2.3.3; for others
    H-30 is wrong, and this is not. A class with a logit of -inf has p = 0; as long as u is 0 there
    too, it takes no part in the loss. A reduction over the samples is the caller's to choose.

    Saves: logits, t, weights, two numbers a row. p is had from them by one exponential, and in full
    precision where the logits are half precisions.

    Args:
      logits: (..., n).
      t: class indices, (...), or one-hot or soft targets, (..., n). A class index outside
        0 ... n - 1, which only the running program can see, gives NaN.
      weights: one number a class, (n,). They weigh the samples' values, which are not divided by
        their sum.
      smoothing: how much of each target is spread evenly over the classes.
      ignore: a class index whose samples have loss 0 and gradient 0, whatever their logits, NaN
        included.

    >>> logits = jnp.array([[1e4, 0.0, -1e4], [0.0, 0.0, -jnp.inf]])
    >>> jnn.softmax_cross_entropy(logits, jnp.array([0, 1])).tolist()
    [0.0, 0.6931471824645996]
    >>> jax.grad(lambda x: jnn.softmax_cross_entropy(x, jnp.array([0, 1])).sum())(logits).tolist()
    [[0.0, 0.0, 0.0], [0.5, -0.5, 0.0]]
    """
    x = _read(logits, t, ignore)
    shifted = x - row_maximum(x, -1)
    log_p = shifted - jnp.log(jnp.exp(shifted).sum(-1, keepdims=True))
    _, u, total = _targets(x, t, weights, smoothing, ignore)
    if _one_class(x, t, smoothing):
        y = -total[..., 0] * labels.pick_class(log_p, t)
    else:
        y = -(u * _present(log_p, u)).sum(-1)
    return y.astype(logits.dtype)


@softmax_cross_entropy.forward
def softmax_cross_entropy_forward(logits, t, weights, *, smoothing, ignore):
    x = _read(logits, t, ignore)
    m = row_maximum(x, -1)
    s = jnp.exp(x - m).sum(-1, keepdims=True)
    _, u, total = _targets(x, t, weights, smoothing, ignore)
    if _one_class(x, t, smoothing):
        y = total * (jnp.log(s) - (labels.pick_class(x, t)[..., None] - m))
    else:
        y = total * jnp.log(s) - (u * _present(x - m, u)).sum(-1, keepdims=True)
    return y[..., 0].astype(logits.dtype), (logits, t, weights, m, s)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(saved, delta, *, smoothing, ignore):
    logits, t, weights, m, s = saved
    x, v = _read(logits, t, ignore), as_wide(delta)[..., None]
    q, u, total = _targets(x, t, weights, smoothing, ignore)
    dx = v * (shares(x, m, s, total) - u)  # p - t
    du = -v * _present(x - m - jnp.log(s), u)
    dt = dw = None
    if errors.is_floating(t):
        dt = (1 - smoothing) * _weighted(du, weights)
    if weights is not None:
        dw = (q * du).sum(range(q.ndim - 1))
    return dx, dt, dw


@softmax_cross_entropy.tangent
def softmax_cross_entropy_tangent(primals, tangents, *, smoothing, ignore):
    (logits, t, weights), (dx, dt, dw) = primals, tangents
    y, (*_, m, s) = softmax_cross_entropy_forward(
        logits, t, weights, smoothing=smoothing, ignore=ignore
    )
    x = _read(logits, t, ignore)
    q, u, total = _targets(x, t, weights, smoothing, ignore)
    dy = (shares(x, m, s, total) - u) * as_wide(dx)
    log_p = _present(x - m - jnp.log(s), u)
    if errors.is_floating(t):
        dy = dy - (1 - smoothing) * _weighted(as_wide(dt), weights) * log_p
    if weights is not None:
        dy = dy - _weighted(q, dw) * log_p
    return y, dy.sum(-1)


def _one_class(x, t, smoothing) -> bool:
    """Whether one class bears the whole target, so that its entry is picked instead of a sum."""
    return labels.are_indices(x, t) and not smoothing


def _read(logits, t, ignore):
    """The logits as they count: in the wide dtype, and 0 in the rows that are ignored."""
    x = as_wide(logits)
    return x if ignore is None else jnp.where((t == ignore)[..., None], jnp.zeros_like(x), x)


def _targets(x, t, weights, smoothing, ignore):
    """The targets q, one number a class; u = w q; and the sum of u over the classes."""
    if labels.are_indices(x, t):
        row = labels.validity(x, t, ignore)[..., None]
        q = jnp.where(labels.is_class(x, t), row, jnp.zeros_like(x))
    else:
        row, q = jnp.ones_like(x), t.astype(x.dtype)
    if smoothing:
        q = (1 - smoothing) * q + smoothing / x.shape[-1] * row
    u = _weighted(q, weights)
    if not _one_class(x, t, smoothing):
        total = u.sum(-1, keepdims=True)
    elif weights is None:
        total = row
    else:
        total = row * jnp.take(as_wide(weights), t, mode="clip")[..., None]
    return q, u, total


def _weighted(q, weights):
    return q if weights is None else q * jnp.broadcast_to(as_wide(weights), q.shape)


def _present(log_p, u):
    """0 for classes that are neither possible nor asked for: 0 log 0 = 0."""
    return jnp.where((u == 0) & (log_p == -jnp.inf), jnp.zeros_like(log_p), log_p)


@softmax_cross_entropy.check
def softmax_cross_entropy_check(logits, t, weights, *, smoothing, ignore):
    labels.check_labels("softmax_cross_entropy", "logits", logits, t)
    if weights is not None:
        errors.shape("softmax_cross_entropy", "weights", weights, logits.shape[-1:],
                     "One weight a class.")  # fmt: skip
        errors.floating("softmax_cross_entropy", logits=logits, weights=weights)
    errors.number("softmax_cross_entropy", "smoothing", smoothing, low=0, high=1)
    if ignore is None:
        return
    if not labels.are_indices(logits, t):
        errors.fail(
            "softmax_cross_entropy", "ignore", f"None for targets {errors.describe(t)}", ignore,
            "It is a class index; a one-hot or soft target of zeros has loss 0.",
        )  # fmt: skip
    bounds = jnp.iinfo(t.dtype)
    if not hasattr(ignore, "__index__") or not bounds.min <= ignore <= bounds.max:
        errors.fail(
            "softmax_cross_entropy", "ignore", f"an integer that {t.dtype.name} holds", ignore
        )


def _example(kind: str, weighted: bool = False, **settings):
    def make(random: np.random.Generator) -> Example:
        shape = tuple(random.integers(1, 5, random.integers(1, 4)))
        t = random.integers(0, shape[-1], shape[:-1])
        if kind == "one-hot":
            t = np.arange(shape[-1]) == t[..., None]
        elif kind == "soft":
            t = random.uniform(size=shape)
        weights = random.uniform(0.5, 2, shape[-1]) if weighted else None
        return Example(2 * random.normal(size=shape), t, weights, **settings)

    return make


for _kind in ("indices", "one-hot", "soft"):
    softmax_cross_entropy.example(_example(_kind))
    softmax_cross_entropy.example(_example(_kind, weighted=True, smoothing=0.1))
softmax_cross_entropy.example(_example("indices", weighted=True))
softmax_cross_entropy.example(_example("indices", smoothing=0.2))
softmax_cross_entropy.example(_example("indices", ignore=0))


@softmax_cross_entropy.extreme
def softmax_cross_entropy_extreme(random: np.random.Generator) -> Example:
    logits = 1e4 * np.array([[1, 0.9999, -1, 0], [-1, -1, -1, -1], [0, 1, 1, 0]])
    return Example(logits, random.integers(0, 4, 3))


@softmax_cross_entropy.extreme
def softmax_cross_entropy_masked(random: np.random.Generator) -> Example:
    t = random.integers(0, 4, 3)
    hot = np.arange(4) == t[:, None]
    logits = np.where(np.arange(4) == (t[:, None] + 1) % 4, -np.inf, random.normal(size=(3, 4)))
    return Example(logits, hot * 1.0)


@softmax_cross_entropy.extreme
def softmax_cross_entropy_ignored(random: np.random.Generator) -> Example:
    logits = np.array([[np.nan, 0, 1], [np.inf, 0, 0], [1, 2, 3]])
    return Example(logits, np.array([-1, -1, 2]), ignore=-1)
