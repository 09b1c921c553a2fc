"""Cross-entropy of the softmax, fused on logits: the loss of classification."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, wide
from jnn.rules.core.rule import Example, rule
from jnn.rules.losses import labels
from jnn.rules.losses.softmax import from_largest, others, row_maximum


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

    A sample that is right by far keeps the digits of both: where p_t is near 1, loss and gradient
    come from the others' sum o, log(1 + o) and -o / (1 + o), not from 1 - p_t (M-66..69).

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
    [[-0.0, 0.0, 0.0], [0.5, -0.5, 0.0]]
    """
    if _one_class(logits, t, smoothing):
        y, *_ = entropies(logits, t, weights, smoothing, ignore)
    else:
        x = _read(logits, t, ignore)
        d, o = from_largest(x, -1)
        _, u, _ = _targets(x, t, weights, smoothing, ignore)
        y = -(u * _present(d - jnp.log1p(o), u)).sum(-1)
    return y.astype(logits.dtype)


@softmax_cross_entropy.forward
def softmax_cross_entropy_forward(logits, t, weights, *, smoothing, ignore):
    y, m, o = entropies(logits, t, weights, smoothing, ignore)
    return y.astype(logits.dtype), (logits, t, weights, m, o)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(saved, delta, *, smoothing, ignore):
    logits, t, weights, m, o = saved
    if logits.dtype != wide(logits.dtype):  # Else XLA keeps the forward's copy in float32 instead.
        logits = lax.optimization_barrier(logits)
    at, v = (logits, t, weights, m, o, smoothing, ignore), as_wide(delta)[..., None]
    dx = v * slopes(*at)
    dt = dw = None
    if errors.is_floating(t):
        dt = -(1 - smoothing) * v * _weighted(log_shares(*at), weights)
    if weights is not None:
        dw = (v * weight_slopes(*at)).sum(range(logits.ndim - 1))
    return dx, dt, dw


@softmax_cross_entropy.tangent
def softmax_cross_entropy_tangent(primals, tangents, *, smoothing, ignore):
    (logits, t, weights), (dx, dt, dw) = primals, tangents
    y, m, o = entropies(logits, t, weights, smoothing, ignore)
    at = logits, t, weights, m, o, smoothing, ignore
    dy = slopes(*at) * as_wide(dx)
    if errors.is_floating(t):
        dy = dy - (1 - smoothing) * _weighted(as_wide(dt), weights) * log_shares(*at)
    if weights is not None:
        dy = dy + _weighted(weight_slopes(*at), dw)
    return y.astype(logits.dtype), dy.sum(-1)


# The parts, for the rule that makes its logits itself as well.


def entropies(logits, t, weights, smoothing, ignore) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One value a sample, what was subtracted from its logits, and the sum of the others (M-61).

    The others are all but the class of the sample; where its target is spread over classes, all
    but the largest.
    """
    x = _read(logits, t, ignore)
    m = row_maximum(x, -1)
    if _one_class(x, t, smoothing):
        x_t = _of_class(logits, t, ignore)
        leads = x_t == m
        m = jnp.where(leads, x_t, m)
        o = (jnp.exp(x - m) * labels.is_other(x, t)).sum(-1, keepdims=True)
        lags = jnp.log(o + jnp.exp(x_t - m)) - (x_t - m)
        total = _total(x, t, weights, ignore)
        y = total * jnp.where(leads, jnp.log1p(o), lags)  # M-66
    else:
        o = others(x, m, -1)
        _, u, total = _targets(x, t, weights, smoothing, ignore)
        y = total * jnp.log1p(o) - (u * _present(x - m, u)).sum(-1, keepdims=True)  # M-68
    return y[..., 0], m, o


def slopes(logits, t, weights, m, o, smoothing, ignore) -> jax.Array:
    """`p sum(u) - u`, where p is near 1 from what the others leave (M-67, M-69)."""
    x = _read(logits, t, ignore)
    e = jnp.exp(x - m)
    if _one_class(x, t, smoothing):
        e_t = jnp.exp(_of_class(logits, t, ignore) - m)
        share = _total(x, t, weights, ignore) / (o + e_t)
        return jnp.where(labels.is_class(x, t), -o * share, e * share)
    _, u, total = _targets(x, t, weights, smoothing, ignore)
    at_top = ((e * total - u) - u * o) / (1 + o)
    return jnp.where(x == m, at_top, e * (total / (1 + o)) - u)


def log_shares(logits, t, weights, m, o, smoothing, ignore) -> jax.Array:
    """The logarithm of p, where it counts."""
    x = _read(logits, t, ignore)
    if _one_class(x, t, smoothing):
        x_t = _of_class(logits, t, ignore) - m
        log_s = jnp.where(x_t == 0, jnp.log1p(o), jnp.log(o + jnp.exp(x_t)))
        return x - m - log_s
    _, u, _ = _targets(x, t, weights, smoothing, ignore)
    return _present(x - m - jnp.log1p(o), u)


def weight_slopes(logits, t, weights, m, o, smoothing, ignore) -> jax.Array:
    """`-q log p`."""
    q, _, _ = _targets(as_wide(logits), t, weights, smoothing, ignore)
    log_p = log_shares(logits, t, weights, m, o, smoothing, ignore)
    if _one_class(logits, t, smoothing):
        log_p = _present(log_p, q)
    return -q * log_p


def _one_class(x, t, smoothing) -> bool:
    """Whether one class bears the whole target, so that its entry is picked instead of a sum."""
    return labels.are_indices(x, t) and not smoothing


def _read(logits, t, ignore):
    """The logits as they count: in the wide dtype, and 0 in the rows that are ignored."""
    x = as_wide(logits)
    return x if ignore is None else jnp.where((t == ignore)[..., None], jnp.zeros_like(x), x)


def _of_class(logits, t, ignore):
    """The logit that each sample's class has, as it counts; the axis stays.

    It is picked before it is widened: of logits that are widened first a TPU stores a copy.
    """
    x_t = as_wide(labels.pick_class(logits, t))[..., None]
    return x_t if ignore is None else jnp.where((t == ignore)[..., None], jnp.zeros_like(x_t), x_t)


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
    return q, u, u.sum(-1, keepdims=True)


def _total(x, t, weights, ignore):
    """The sum of u where one class bears it all: its weight, 0 or NaN."""
    row = labels.validity(x, t, ignore)[..., None]
    return row if weights is None else row * jnp.take(as_wide(weights), t, mode="clip")[..., None]


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
    labels.check_ignore("softmax_cross_entropy", t, ignore)


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
