"""The last affine map and cross-entropy in one: logits are made for some rows at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jnn import errors
from jnn.arithmetic import as_wide, nonzero, wide
from jnn.rules.core.chunks import chunked, fitting
from jnn.rules.core.rule import Example, rule
from jnn.rules.core.sharded import by_device, own
from jnn.rules.losses import labels
from jnn.rules.losses import softmax_entropy as rows
from jnn.xla.control import cond

ROWS = 256  # At least so many at a time: each chunk reads all of w, and adds to all of dw.


@rule
def linear_cross_entropy(
    x: jax.Array,
    w: jax.Array,
    t: jax.Array,
    b: jax.Array | None = None,
    weights: jax.Array | None = None,
    sample_weights: jax.Array | None = None,
    *,
    reduction: str = "mean",
    smoothing: float = 0.0,
    ignore: int | None = None,
) -> jax.Array:
    """`softmax_cross_entropy(x w + b, t)` and its reduction, without the logits (M-70..74).

    With z = x w + b and, of each row, g = p sum(u) - u as in `softmax_cross_entropy`, and the
    cotangent v of each row,

        dx = v g w^T    dw = sum v x^T g    db = sum v g

    Logits, and g, are there for some rows at a time alone. A reduced loss has one cotangent for all
    rows, so that its gradients are made along with it, in three products a chunk; where nothing is
    differentiated the value alone is, in one. With `reduction="none"` the backward computes the
    logits again: four products in all. Rows that are ignored, or weigh 0, are sorted behind the
    others, and chunks of them are skipped. Of half precisions the loss is float32, as it is summed.

    Saves: x, w, t, b, weights, sample_weights, 5 wide tensors, 4 numbers a row. Reduced: the
    gradients of the sum, and of a mean how much each class and sample is of it. Else: two
    numbers a row.

    Args:
      x: what the logits are made of, (..., features).
      w: (features, classes).
      t: class indices, (...). One that names no class gives NaN.
      b: biases, (classes,), or None.
      weights: one number a class, (classes,).
      sample_weights: one number a sample, (...), by which its loss is multiplied. A sample of
        weight 0 is not read, whatever it is, and adds nothing to the derivative in its weight.
      reduction: "mean", over the samples that are not ignored: the sum over them, divided by their
        number or by the sum of their weights, those of classes as PyTorch has it, and their own; 0
        if there are none. "sum"; or "none": one value a sample.
      smoothing: how much of each target is spread evenly over the classes.
      ignore: a class index whose samples have loss 0 and gradient 0.

    >>> x, w, t = jnp.ones((4, 3)), jnp.zeros((3, 2)), jnp.array([0, 1, -1, 1])
    >>> round(jnn.linear_cross_entropy(x, w, t, ignore=-1).item(), 4)
    0.6931
    """
    x, t_read = _counting(x, t, sample_weights, ignore)
    y, *_ = rows.entropies(_logits(x, w, b), t_read, weights, smoothing, ignore)
    y = labels.weighed(y, sample_weights)
    if reduction == "none":
        return y
    return y.sum() / _divisor(x, t, weights, sample_weights, reduction, ignore)


linear_cross_entropy.wide_outputs = (0,)


@linear_cross_entropy.forward
def linear_cross_entropy_forward(x, w, t, b, weights, sample_weights, *, reduction, **settings):
    smoothing, ignore = settings["smoothing"], settings["ignore"]
    if reduction != "none":
        y, sums = _sum_and_gradients(x, w, t, b, weights, sample_weights, smoothing, ignore)
        divisor = _divisor(x, t, weights, sample_weights, reduction, ignore)
        y = y / divisor  # M-71
        counted = None
        if reduction != "sum":
            counted = _counted(w, t, weights, sample_weights, ignore)
        return y, (sums, y, divisor, counted)

    def part(x, t, r):
        x, t = _counting(x, t, r, ignore)
        y, m, o = rows.entropies(_logits(x, w, b), t, weights, smoothing, ignore)
        return (labels.weighed(y, r), m, o), ()

    (y, m, o), _ = _over_rows(part, x, w, t, sample_weights, ignore)
    saved = x, w, t, b, weights, sample_weights, m, o
    return y.reshape(t.shape), saved


@linear_cross_entropy.backward
def linear_cross_entropy_backward(saved, delta, *, reduction, smoothing, ignore):
    v = as_wide(delta)
    if reduction != "none":
        v, found = v / saved[2], _with_divisor(*saved)  # M-72
        dx, dw, db, dweights, dr = (a if a is None else v * as_wide(a) for a in found)
        return dx, dw, None, db, dweights, dr
    x, w, t, b, weights, r, m, o = saved

    def part(x, t, r, v, m, o):
        x, t = _counting(x, t, r, ignore)
        at = _logits(x, w, b), t, weights, m, o, smoothing, ignore
        (dx,), sums = _pulled(x, w, b, at, labels.weighed(v, r)[:, None])
        dr = () if r is None else v * _losses(at, r)
        return (dx, dr), sums

    (dx, dr), sums = _over_rows(part, x, w, t, r, ignore, v.reshape(-1), m, o)
    dw, db, dweights = sums
    return dx.reshape(x.shape), dw, None, db, dweights, None if r is None else dr.reshape(r.shape)


@linear_cross_entropy.tangent
def linear_cross_entropy_tangent(primals, tangents, *, reduction, smoothing, ignore):
    (x, w, t, b, weights, r), (dx, dw, _, db, dweights, dr) = primals, tangents
    if reduction != "none":
        # The gradients are at hand, and the tangent is their product with the direction.
        y, saved = linear_cross_entropy_forward(
            *primals, reduction=reduction, smoothing=smoothing, ignore=ignore
        )
        pairs = zip(_with_divisor(*saved), (dx, dw, db, dweights, dr), strict=True)
        terms = [(as_wide(a) * d.astype(as_wide(a).dtype)).sum() for a, d in pairs if a is not None]
        return y, sum(terms[1:], terms[0]) / saved[2]

    def part(x, t, r, dx, *dr):
        (dx, _), (x, t) = (_counting(a, t, r, ignore) for a in (dx, x))
        z = _logits(x, w, b)
        dz = _product(dx, w) + _product(x, dw)
        dz = dz if b is None else dz + jnp.broadcast_to(as_wide(db), dz.shape)
        y, m, o = rows.entropies(z, t, weights, smoothing, ignore)
        at = z, t, weights, m, o, smoothing, ignore
        dy = rows.slopes(*at) * dz
        if weights is not None:
            dy = dy + rows.weight_slopes(*at) * jnp.broadcast_to(as_wide(dweights), dy.shape)
        dy = labels.weighed(dy.sum(-1), r)
        for one in dr:
            dy = dy + one.astype(dy.dtype) * _losses(at, r)
        return (labels.weighed(y, r), dy), ()

    more = () if r is None else (dr.reshape(-1),)
    (y, dy), _ = _over_rows(part, x, w, t, r, ignore, dx.reshape(-1, x.shape[-1]), *more)
    return y.reshape(t.shape), dy.reshape(t.shape)


def _sum_and_gradients(x, w, t, b, weights, r, smoothing, ignore):
    """The sum of all samples' losses, and its gradients, in one loop over chunks of rows."""

    def part(x, t, r):
        x, t = _counting(x, t, r, ignore)
        z = _logits(x, w, b)
        y, m, o = rows.entropies(z, t, weights, smoothing, ignore)
        at = z, t, weights, m, o, smoothing, ignore
        v = None if r is None else r.astype(y.dtype)[:, None]
        (dx,), sums = _pulled(x, w, b, at, v)
        dr = () if r is None else labels.weighed(y, r != 0)
        return (dx, dr), (labels.weighed(y, r).sum(), *sums)

    (dx, dr), (y, dw, db, dweights) = _over_rows(part, x, w, t, r, ignore)
    return y, (dx.reshape(x.shape), dw, db, dweights, None if r is None else dr.reshape(t.shape))


def _with_divisor(sums, y, divisor, counted):
    """The gradients of the sum over the divisor, times the divisor: that of a mean has its own."""
    *others, dweights, dr = sums
    of_weights, of_r = counted or (None, None)
    dweights = dweights if of_weights is None else dweights - y * of_weights
    return *others, dweights, dr if of_r is None else dr - y * of_r


def _losses(at, r):
    """What each row has lost before it is weighed; 0 where it is not read."""
    z, t, weights, _, _, smoothing, ignore = at
    y, *_ = rows.entropies(z, t, weights, smoothing, ignore)
    return labels.weighed(y, r != 0)


def _pulled(x, w, b, at, v):
    """A chunk's dx, and its terms of dw, db and the weights' cotangent; v, or 1, a row."""
    g = rows.slopes(*at)  # M-73
    narrow = g.astype(x.dtype)
    dx = _product(narrow, w.T)
    scaled = x if v is None else (v * as_wide(x)).astype(x.dtype)
    # Transposed by itself: the product of a copy takes half the time of one with a stride.
    dw = _product(lax.optimization_barrier(scaled.T), narrow)  # M-74
    dx = dx if v is None else v * dx
    over = (lambda a: a.sum(0)) if v is None else (lambda a: (v * a).sum(0))
    db = None if b is None else over(g)
    dweights = None if at[2] is None else over(rows.weight_slopes(*at))
    return (dx.astype(x.dtype),), (dw, db, dweights)


def _over_rows(part, x, w, t, r, ignore, *more):
    """`part(x, t, r, *more)` over chunks of rows; those that do not count last, and skipped."""
    x, t = x.reshape(-1, x.shape[-1]), t.reshape(-1)
    each = () if r is None else (r.reshape(-1),)
    arrays = x, t, *each, *more
    return by_device(partial(_of_device, part, w, ignore, r is not None), arrays)


def _of_device(part, w, ignore, weighted, *arrays):
    (x, t), r = arrays[:2], arrays[2] if weighted else None
    size = rows_at_once(len(x), w)

    def of(x, t, *rest):
        return part(x, t, *rest) if weighted else part(x, t, None, *rest)

    off = labels.uncounted(t, r, ignore)
    if off is None or len(x) <= size:
        return chunked(of, arrays, size)

    def unless_off(off, *arrays):
        like = jax.eval_shape(of, *arrays)
        nothing = lambda *_: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)  # noqa: E731
        return cond((~off).any(), of, nothing, *arrays)

    order = jnp.argsort(off, stable=True)
    y, sums = chunked(unless_off, tuple(_taken(a, order) for a in (off, *arrays)), size)
    return jax.tree.map(partial(_taken, order=jnp.argsort(order)), y), sums


def rows_at_once(count: int, w: jax.Array) -> int:
    """Of how many of so many rows logits are there at a time, on each device."""
    return fitting(own(count), w.shape[1] * w.dtype.itemsize, least=ROWS)


def _taken(a, order):
    return a.at[order].get(mode="promise_in_bounds", unique_indices=True)


def _counting(x, t, r, ignore):
    """Rows and labels as they count: 0 where they do not, so that they add nothing to dw."""
    off = labels.uncounted(t, r, ignore)
    if off is None:
        return x, t
    t = t if r is None else jnp.where(r == 0, jnp.zeros_like(t), t)
    return jnp.where(off[..., None], jnp.zeros_like(x), x), t


def _logits(x, w, b):
    z = _product(x, w)  # M-70
    return z if b is None else z + jnp.broadcast_to(as_wide(b), z.shape)


def _product(a, b):
    """The product of matrices, still in the dtype in which it is summed."""
    return jnp.tensordot(a, b, 1, preferred_element_type=wide(a.dtype))


def _divisor(x, t, weights, r, reduction, ignore):
    """What the sum is divided by: 1, or how much all samples count."""
    if reduction == "sum":
        return jnp.ones((), wide(x.dtype))
    return nonzero(labels.weighed(labels.amounts(t, wide(x.dtype), weights, ignore), r).sum())


def _counted(w, t, weights, r, ignore):
    """The derivatives of the divisor: of a class' weight how much its samples count, and of r."""
    of_r = None
    if r is not None:
        of_r = labels.weighed(labels.amounts(t, wide(w.dtype), weights, ignore), r != 0)
    if weights is None:
        return None, of_r
    each = labels.weighed(labels.amounts(t, wide(w.dtype), None, ignore), r).reshape(-1)

    def part(t, each):
        like = jnp.zeros((len(t), w.shape[1]), each.dtype)
        return (), jnp.where(labels.is_class(like, t), each[:, None], like).sum(0)

    return chunked(part, (t.reshape(-1), each), rows_at_once(t.size, w))[1], of_r


@linear_cross_entropy.check
def linear_cross_entropy_check(
    x, w, t, b, weights, sample_weights, *, reduction, smoothing, ignore
):
    name = "linear_cross_entropy"
    given = {"b": b, "weights": weights}
    given = {argument: a for argument, a in given.items() if a is not None}
    errors.floating(name, x=x, w=w, **given)
    errors.rank(name, "w", w, 2)
    if not x.ndim or x.shape[-1] != w.shape[0]:
        errors.fail(name, "x", f"of shape (..., {w.shape[0]}) to fit `w` {errors.describe(w)}",
                    errors.describe(x), "Weights are (in, out), and samples are rows.")  # fmt: skip
    if w.shape[1] == 0:
        errors.fail(name, "w", "of shape (features, classes), one class at least",
                    errors.describe(w))  # fmt: skip
    soft = "Soft and one-hot targets need all logits: use softmax_cross_entropy."
    if t.shape == (*x.shape[:-1], w.shape[1]) and t.shape != x.shape[:-1]:
        errors.fail(name, "t", f"class indices of shape {x.shape[:-1]}", errors.describe(t), soft)
    errors.shape(name, "t", t, x.shape[:-1], "One class index a sample.")
    if not jnp.issubdtype(t.dtype, jnp.integer):
        errors.fail(name, "t", "an integer array", errors.describe(t), soft, TypeError)
    for argument, a in given.items():
        errors.shape(name, argument, a, w.shape[1:], "One number a class.")
    if sample_weights is not None:
        errors.floating(name, sample_weights=sample_weights)
        errors.shape(name, "sample_weights", sample_weights, t.shape, "One number a sample.")
    errors.choice(name, "reduction", reduction, ("mean", "sum", "none"))
    errors.number(name, "smoothing", smoothing, low=0, high=1)
    labels.check_ignore(name, t, ignore)


def _example(reduction: str, *given: str, **settings):
    def make(random: np.random.Generator) -> Example:
        *batch, n, classes = random.integers(1, 5, random.integers(3, 5))
        t = random.integers(0, classes, batch)
        b = random.normal(size=classes) if "b" in given else None
        weights = random.uniform(0.5, 2, classes) if "weights" in given else None
        x, w = random.normal(size=(*batch, n)), random.normal(size=(n, classes))
        rows = random.uniform(0.5, 2, batch) if "rows" in given else None
        return Example(x, w, t, b, weights, rows, reduction=reduction, **settings)

    return make


for _reduction in ("mean", "sum", "none"):
    linear_cross_entropy.example(_example(_reduction, "b"))
    linear_cross_entropy.example(_example(_reduction, "weights", "b", smoothing=0.1))
    linear_cross_entropy.example(_example(_reduction, "weights", "rows", ignore=0))


@linear_cross_entropy.example
def linear_cross_entropy_example_of_chunks(random: np.random.Generator) -> Example:
    rows = 2 * ROWS + 3
    x, w = random.normal(size=(rows, 2)), random.normal(size=(2, 3))
    return Example(x, w, random.integers(0, 3, rows))


@linear_cross_entropy.extreme
def linear_cross_entropy_extreme(random: np.random.Generator) -> Example:
    x = 1e2 * np.array([[1, 0.9999], [-1, -1], [0, 1]])
    w = 1e2 * np.array([[1.0, 0, -1], [0, 1, -1]])
    return Example(x, w, random.integers(0, 3, 3), reduction="none")


@linear_cross_entropy.extreme
def linear_cross_entropy_ignored(random: np.random.Generator) -> Example:
    x = np.array([[np.nan, 0], [np.inf, 0], [1, 2]])
    return Example(x, random.normal(size=(2, 3)), np.array([-1, -1, 2]), ignore=-1)
