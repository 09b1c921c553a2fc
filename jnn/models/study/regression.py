"""Linear, logistic and multinomial regression: one record of functions each (X-74..77, T §2).

All three are a dense layer and a loss whose derivative in the scores z = x w + b is the error
p - t, prediction less target. So they share their formulas, here with samples as rows:

    F = (1/m) sum_i l(z_i, t_i) + (l2 / 2) |w|^2
    dF/dw = x^T (p - t) / m + l2 w          T-17, X-61, X-65, T §2.3.2: X (P - C)^T / m
    dF/db = sum (p - t) / m                 the row of ones that T §2.1.1 appends to X
    dF/dx = (p - t) w^T / m                 T §2.3.3: W (P - C) / m
    d2F/dw2 = x^T D x / m + l2              T §2.3.1: X D X^T / m, with D = dp/dz

The documents' X has a column a sample, and their W is our w transposed or, for T and X-60, our w.
X-60 prints the stacked p - y as the gradient; it is sum_i x_i (p_i - y_i)^T. Sums over samples (X)
are m times the means here, and their lambda is m l2. A bias of its own is not shrunk; one that is
absorbed in w by a column of ones in x is, as in X-63.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.arithmetic import contract
from jnn.layers.linear import DenseParams
from jnn.rules.core.rule import Rule
from jnn.rules.linear.affine import affine
from jnn.rules.linear.penalty import l2 as penalty
from jnn.rules.losses import labels
from jnn.rules.losses.entropy import sigmoid_cross_entropy
from jnn.rules.losses.regression import half_squared_error
from jnn.rules.losses.softmax import softmax
from jnn.rules.losses.softmax_entropy import softmax_cross_entropy
from jnn.rules.pointwise.piecewise import identity
from jnn.rules.pointwise.sigmoids import sigmoid

Number = float | jax.Array


@dataclass(frozen=True)
class Regression:
    """A kind of regression; its methods are pure functions, and hold nothing.

    Parameters are `DenseParams(w, b)` with w (n, k) and b (k,) or None, those of `jnn.dense(k)`;
    samples x are (m, n). Targets t are (m, k), or (m,) where k is 1; of multinomial regression
    class indices (m,) or one-hot rows. `weights` says how much each sample counts, (m,); the loss
    is their weighted mean. `l2` is the factor of |w|^2 / 2.

    >>> x, t = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([0, 1, 1])
    >>> params = jnn.layers.DenseParams(jnp.zeros((1, 1)), jnp.zeros(1))
    >>> jnn.models.logistic.objective(params, x, t).item()  # log 2
    0.6931471824645996
    >>> jnn.models.logistic.gradient(params, x, t)
    DenseParams(w=Array([[-0.5]], dtype=float32), b=Array([-0.16666667], dtype=float32))

    Attributes:
      name: what it is called.
      loss: the loss of scores and targets, one value a sample.
      mean: the prediction p from the scores z.
      curve: the derivative of p in z times v, from (p, v).
      pinned: whether there is a class more than columns of w, whose score is 0.
    """

    name: str
    loss: Rule
    mean: Rule
    curve: Callable[[jax.Array, jax.Array], jax.Array]
    pinned: bool = False

    def scores(self, params: DenseParams, x: jax.Array) -> jax.Array:
        """The scores z = x w + b, (m, k) (X-1, X-2, X-7, X-8, T-3)."""
        z = affine(x, *_checked(self.name, params))
        return _with_pinned(z) if self.pinned else z

    def predict(self, params: DenseParams, x: jax.Array) -> jax.Array:
        """Values, or probabilities (X-5, X-6, X-9..12, T-3, T-10)."""
        return self.mean(self.scores(params, x))

    def objective(
        self,
        params: DenseParams,
        x: jax.Array,
        t: jax.Array,
        *,
        l2: Number = 0.0,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """The mean loss and the penalty, to be minimised (X-74..77, T-9, T-11, X-62).

        Its derivatives under `jax.grad` are those of the rules `affine`, `l2` and the loss.
        """
        z = self.scores(params, x)
        values = self.loss(z, self._targets(z, t))
        if weights is None:
            return values.mean() + l2 * penalty(params.w)
        return (values * weights).sum() / weights.sum() + l2 * penalty(params.w)

    def gradient(
        self,
        params: DenseParams,
        x: jax.Array,
        t: jax.Array,
        *,
        l2: Number = 0.0,
        weights: jax.Array | None = None,
    ) -> DenseParams:
        """The derivative of the objective by the parameters: x^T (p - t) / m + l2 w (T-17)."""
        e = self._error(params, x, t, weights)
        return DenseParams(contract(x.T, e) + l2 * params.w, None if params.b is None else e.sum(0))

    def data_gradient(
        self, params: DenseParams, x: jax.Array, t: jax.Array, *, weights: jax.Array | None = None
    ) -> jax.Array:
        """The derivative of the objective by the data: (p - t) w^T / m (T §2.3.3)."""
        return contract(self._error(params, x, t, weights), params.w.T)

    def product(
        self,
        params: DenseParams,
        x: jax.Array,
        v: DenseParams,
        *,
        l2: Number = 0.0,
        weights: jax.Array | None = None,
    ) -> DenseParams:
        """The Hessian times v, without a matrix: x^T D (x v) / m + l2 v."""
        p = self.predict(params, x)
        moved = affine.parts.definition(x, v.w, v.b)
        u = self.curve(p, _with_pinned(moved) if self.pinned else moved)
        u = self._free(u) * _shares(x, weights)
        return DenseParams(contract(x.T, u) + l2 * v.w, None if params.b is None else u.sum(0))

    def hessian(
        self,
        params: DenseParams,
        x: jax.Array,
        *,
        l2: Number = 0.0,
        weights: jax.Array | None = None,
    ) -> jax.Array:
        """The Hessian x^T D x / m + l2 as a matrix; rows as `jax.flatten_util.ravel_pytree` has.

        Positive semidefinite; definite where x has full column rank and, of multinomial regression,
        one class is pinned (T, Remark 2), or where l2 > 0 and there is no bias.
        """
        p, k = self.predict(params, x), params.w.shape[1]
        unit = jnp.broadcast_to(jnp.eye(k, p.shape[1], dtype=p.dtype)[:, None], (k, *p.shape))
        d = jax.vmap(lambda v: self._free(self.curve(p, v)))(unit) * _shares(x, weights)[None]
        # What a bias multiplies is 1 (T §2.1.1).
        ones = [] if params.b is None else [jnp.ones_like(x[:, :1])]
        rows = jnp.concatenate([x, *ones], axis=1)
        h = jnp.einsum("mi,cma,mj->iajc", rows, d, rows).reshape(2 * (rows.shape[1] * k,))
        shrunk = jnp.arange(len(h)) < params.w.size
        return h + jnp.diag(jnp.where(shrunk, jnp.asarray(l2, h.dtype), jnp.zeros_like(h[0])))

    def newton(
        self,
        params: DenseParams,
        x: jax.Array,
        t: jax.Array,
        *,
        l2: Number = 0.0,
        weights: jax.Array | None = None,
    ) -> DenseParams:
        """Newton's step, -H^-1 times the gradient; the shortest where H is singular (T §2.3.1).

        T's expansion F(w + d) = |x d - g|_D^2 / m lacks a half and its constant.

        >>> x, t = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([[1.0], [3.0], [5.0]])
        >>> params = jnn.layers.DenseParams(jnp.zeros((1, 1)), jnp.zeros(1))
        >>> step = jnn.models.linear.newton(params, x, t)  # One step solves a linear regression.
        >>> step.w.round(4).item(), step.b.round(4).item()
        (2.0, 1.0)
        """
        g = self.gradient(params, x, t, l2=l2, weights=weights)
        values, vectors = jnp.linalg.eigh(self.hessian(params, x, l2=l2, weights=weights))
        least = len(values) * jnp.finfo(values.dtype).eps * values[-1]
        inverse = jnp.where(values > least, 1 / jnp.maximum(values, least), jnp.zeros_like(values))
        flat = g.w.ravel() if g.b is None else jnp.concatenate([g.w.ravel(), g.b])
        step = -contract(vectors, inverse * contract(vectors.T, flat))
        w = step[: g.w.size].reshape(g.w.shape)
        return DenseParams(w, None if g.b is None else step[g.w.size :])

    def _error(
        self, params: DenseParams, x: jax.Array, t: jax.Array, weights: jax.Array | None
    ) -> jax.Array:
        """(p - t) / m, of the columns of w."""
        z = self.scores(params, x)
        p, t = self.mean(z), self._targets(z, t)
        if labels.are_indices(z, t):
            t = labels.is_class(z, t)
        t = t.astype(p.dtype)
        # 1 - p is sigmoid(-z), which keeps its digits where p is near 1.
        e = (1 - t) * p - t * sigmoid(-z) if self.mean is sigmoid else p - t
        return self._free(e) * _shares(x, weights)

    def _targets(self, z: jax.Array, t: jax.Array) -> jax.Array:
        """Targets as the loss takes them: (m,) is one column, unless it holds class indices."""
        if self.mean is softmax or t.ndim != 1 or z.shape[1] != 1:
            return t
        return t.reshape(z.shape)

    def _free(self, e: jax.Array) -> jax.Array:
        """Without the pinned class."""
        return e[:, :-1] if self.pinned else e


def pin(params: DenseParams) -> DenseParams:
    """The same multinomial regression with the last class's parameters 0, and left out.

    One of the columns is redundant: adding a vector to all of them changes no probability
    (T, Remark 2). Of two classes, it leaves the logistic regression of the first (X-44).

    >>> params = jnn.layers.DenseParams(jnp.array([[3.0, 1.0]]), jnp.array([0.0, 2.0]))
    >>> jnn.models.pin(params)
    DenseParams(w=Array([[2.]], dtype=float32), b=Array([-2.], dtype=float32))
    """
    w, b = _checked("pin", params)
    w = w[:, :-1] - w[:, -1:]
    return DenseParams(w, None if b is None else b[:-1] - b[-1:])


def unpin(params: DenseParams) -> DenseParams:
    """The shortest parameters of all classes that predict what pinned ones do.

    >>> pinned = jnn.layers.DenseParams(jnp.array([[2.0]]), jnp.array([-2.0]))
    >>> jnn.models.unpin(pinned)
    DenseParams(w=Array([[ 1., -1.]], dtype=float32), b=Array([-1.,  1.], dtype=float32))
    """
    w, b = _checked("unpin", params)
    return jax.tree.map(_centred, DenseParams(w, b))


def _centred(a: jax.Array) -> jax.Array:
    whole = jnp.concatenate([a, jnp.zeros_like(a[..., :1])], axis=-1)
    return whole - whole.mean(-1, keepdims=True)


def _with_pinned(z: jax.Array) -> jax.Array:
    return jnp.concatenate([z, jnp.zeros_like(z[:, :1])], axis=1)


def _shares(x: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The share of each sample in the mean, (m, 1) or (1, 1)."""
    if weights is None:
        return jnp.full((1, 1), 1 / len(x), x.dtype)
    return (weights / weights.sum())[:, None]


def _checked(function: str, params: Any) -> DenseParams:
    if not isinstance(params, DenseParams):
        expected = "DenseParams(w, b)"
        errors.fail(function, "params", expected, errors.describe(params), kind=TypeError)
    return params


def _softmax_curve(p: jax.Array, v: jax.Array) -> jax.Array:
    return p * (v - (p * v).sum(-1, keepdims=True))


linear = Regression("linear", half_squared_error, identity, lambda p, v: v)
logistic = Regression("logistic", sigmoid_cross_entropy, sigmoid, lambda p, v: p * (1 - p) * v)
multinomial = Regression("multinomial", softmax_cross_entropy, softmax, _softmax_curve)
pinned = Regression("pinned", softmax_cross_entropy, softmax, _softmax_curve, pinned=True)
