"""Linear, logistic and multinomial regression with scikit-learn's face, solved in float64."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.estimators import reading
from jnn.estimators.descending import descending, made
from jnn.estimators.estimator import Classifier, Estimator, Regressor
from jnn.layers.core.layer import Layer
from jnn.layers.linear import DenseParams, dense
from jnn.models.study import regression
from jnn.models.study.regression import Regression
from jnn.rules.linear.penalty import l2 as penalty
from jnn.solve.drive import Solver
from jnn.solve.methods.marquardt import svd_solve
from jnn.solve.methods.newton import newton_cg
from jnn.solve.minimize import minimize
from jnn.value import constructor
from jnn.xla.cache import kept


class Scaled(NamedTuple):
    """Samples about their mean, and what their features are multiplied by."""

    x: jax.Array
    mean: jax.Array
    factor: jax.Array


@dataclass(kw_only=True, eq=False, repr=False)
class _Linear(Estimator):
    l2: float = 0.0
    fit_intercept: bool = True
    features: Callable[[jax.Array], jax.Array] | None = None
    solver: Any = None
    tol: float = 1e-11
    max_steps: int = 1000

    def _net(self, outputs: int) -> Layer:
        return dense(outputs, bias=self.fit_intercept)

    @property
    def coef_(self) -> np.ndarray:
        """The weights as scikit-learn has them: a row an output."""
        return self.params_.w.T

    @property
    def intercept_(self) -> Any:
        """The biases."""
        b = self.params_.b
        return np.zeros(self.params_.w.shape[1]) if b is None else b

    def _read(self, x: Any) -> np.ndarray:
        return reading.read_samples(type(self).__name__, x, getattr(self, "n_features_in_", None))

    def _mapped(self, x: np.ndarray) -> jax.Array:
        """The features of the samples, in float64."""
        return jnp.asarray(x) if self.features is None else _features(self.features, x)

    def _begin(self, x: Any) -> np.ndarray:
        errors.number(type(self).__name__, "l2", self.l2, low=0)
        x = reading.read_samples(type(self).__name__, x)
        self.n_features_in_ = x.shape[1]
        return x

    def _minimise(
        self, kind: Regression, x: jax.Array, t: jax.Array, weights: jax.Array, columns: int
    ) -> DenseParams:
        """The parameters of the least objective, found in features of like curvature."""
        l2 = jnp.asarray(self.l2, x.dtype)
        scaled = _scaled(x, weights, l2, self.fit_intercept)
        start: Any = np.zeros((x.shape[1], columns))
        bias: Any = np.zeros(columns) if self.fit_intercept else None
        given = (scaled.x, t, weights, scaled.factor, l2)
        solver = newton_cg() if self.solver is None else made(self.solver)
        found = minimize(
            _objective(kind), DenseParams(start, bias),
            solver if isinstance(solver, Solver) else descending(solver), args=given,
            tol=self.tol, max_steps=self.max_steps,
        )  # fmt: skip
        self.message_ = found.message
        (w, b), mean, factor = jax.tree.map(np.asarray, (found.params, *scaled[1:]))
        w = w * factor[:, None]
        return DenseParams(w, None if b is None else b - mean @ w)

    def _keep(self, params: DenseParams) -> Self:
        self.params_ = jax.tree.map(np.asarray, params)
        self._shape_ = self.params_.w.shape[:1]
        return self


class LinearRegression(_Linear, Regressor):
    """Linear regression: (1/2m) sum |x w + b - y|^2 + (l2 / 2) |w|^2 (X-77, T-1).

    Solved in float64 whatever JAX is set to, by the singular values of x; the shortest solution
    where there are several. scikit-learn's `Ridge(alpha)` is l2 = alpha / m.

    >>> model = jnn.estimators.LinearRegression()
    >>> model.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    LinearRegression()
    >>> model.coef_.round(6), round(model.intercept_, 6), model.score([[3.0]], [7.0])
    (array([2.]), np.float64(1.0), 1.0)

    Args:
      l2: the factor of half the squared weights; the bias is not shrunk.
      fit_intercept: whether there is a bias.
      features: a function of the samples to be linear in, as `jnn.models.monomials`.
      solver: a solver of `jnn.minimize`, or an optimizer, to use instead.
      tol: of that solver, on the gradient.
      max_steps: of that solver.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learns from samples (m, n) and targets (m,) or (m, k); returns itself."""
        x = self._begin(X)
        y = reading.values(type(self).__name__, y, len(x))
        weights = reading.weights(sample_weight, len(x))
        self._outputs_ = y.shape[1] if y.ndim == 2 else None
        with kept(), jax.enable_x64(True):
            phi, t = self._mapped(x), jnp.asarray(y.reshape(len(x), -1))
            shares = _shares(weights, len(x))
            if self.solver is not None:
                return self._keep(self._minimise(regression.linear, phi, t, shares, t.shape[1]))
            self.message_ = "Solved by singular values."
            l2 = jnp.asarray(self.l2, phi.dtype) if self.l2 else None
            return self._keep(_least_squares(phi, t, shares, l2, self.fit_intercept))

    def predict(self, X: Any) -> np.ndarray:
        """The value, or values, of each sample."""
        params = self._fitted()
        with kept(), jax.enable_x64(True):
            y = np.asarray(_predict(regression.linear, params, self._mapped(self._read(X))))
        return y if self._outputs_ else y[:, 0]

    @property
    def coef_(self) -> np.ndarray:
        """The weights, (n,) or (k, n)."""
        return super().coef_ if self._outputs_ else self.params_.w[:, 0]

    @property
    def intercept_(self) -> Any:
        """The bias, a number or (k,)."""
        return super().intercept_ if self._outputs_ else super().intercept_[0]


@dataclass(kw_only=True, eq=False, repr=False)
class LogisticRegression(_Linear, Classifier):
    """Logistic regression of two classes, multinomial of more (X-74..76, T §2).

    The mean cross-entropy and (l2 / 2) |w|^2 are minimised in float64 whatever JAX is set to, by
    Newton's method. scikit-learn's `LogisticRegression(C)` is l2 = 1 / (C m). Without l2 there is
    no minimum where a plane separates the classes: it then ends far out.

    >>> x, y = jnn.data.two_moons(200)
    >>> cubic = lambda x: jnn.models.monomials(x, 3)
    >>> model = jnn.estimators.LogisticRegression(l2=1e-4, features=cubic).fit(x, y)
    >>> model.predict_proba(x[:1]).shape, model.score(x, y) > 0.98
    ((1, 2), True)

    Args:
      l2: the factor of half the squared weights; the bias is not shrunk.
      fit_intercept: whether there is a bias.
      features: a function of the samples to be linear in, as `jnn.models.monomials`.
      solver: a solver of `jnn.minimize`, by default `jnn.newton_cg()`; or an optimizer.
      tol: of the solver, on the gradient.
      max_steps: of the solver.
      pinned: whether the last of several classes has no weights of its own (T, Remark 2).
      class_weight: how much each class counts, by class, or "balanced".
    """

    l2: float = 1e-4
    pinned: bool = False
    class_weight: dict[Any, float] | str | None = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learns from samples (m, n) and their classes (m,); returns itself."""
        x = self._begin(X)
        numbers, weights = self._classes(y, sample_weight, len(x))
        with kept(), jax.enable_x64(True):
            phi, shares = self._mapped(x), _shares(weights, len(x))
            t = jnp.asarray(numbers)
            return self._keep(self._minimise(self._regression, phi, t, shares, self._width))

    def decision_function(self, X: Any) -> np.ndarray:
        """The scores x w + b: (m,) of two classes, else (m, classes)."""
        params = self._fitted()
        with kept(), jax.enable_x64(True):
            z = np.asarray(_scores(self._regression, params, self._mapped(self._read(X))))
        return z[:, 0] if len(self.classes_) == 2 else z

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (m, classes), in the order of `classes_`."""
        params = self._fitted()
        with kept(), jax.enable_x64(True):
            p = np.asarray(_predict(self._regression, params, self._mapped(self._read(X))))
        return np.hstack([1 - p, p]) if len(self.classes_) == 2 else p

    @property
    def _regression(self) -> Regression:
        if len(self.classes_) == 2:
            return regression.logistic
        return regression.pinned if self.pinned else regression.multinomial

    @property
    def _width(self) -> int:
        k = len(self.classes_)
        return 1 if k == 2 else k - self.pinned


@constructor
def _objective(kind: Regression) -> Callable[..., jax.Array]:
    def objective(
        v: DenseParams, x: jax.Array, t: jax.Array, weights: jax.Array, factor: jax.Array,
        l2: jax.Array,
    ) -> jax.Array:  # fmt: skip
        w = v.w * jnp.broadcast_to(factor[:, None], v.w.shape)
        scaled = x * jnp.broadcast_to(factor, x.shape)
        return kind.objective(v, scaled, t, weights=weights) + l2 * penalty(w)

    return objective


def _shares(weights: np.ndarray | None, count: int) -> jax.Array:
    shares = np.ones(count) if weights is None else weights
    return jnp.asarray(shares / shares.sum())


@partial(jax.jit, static_argnames="features")
def _features(features: Callable[[jax.Array], jax.Array], x: Any) -> jax.Array:
    return features(x)


@partial(jax.jit, static_argnames="kind")
def _scores(kind: Regression, params: DenseParams, x: jax.Array) -> jax.Array:
    return kind.scores(params, x)


@partial(jax.jit, static_argnames="kind")
def _predict(kind: Regression, params: DenseParams, x: jax.Array) -> jax.Array:
    return kind.predict(params, x)


@partial(jax.jit, static_argnames="centre")
def _scaled(x: jax.Array, shares: jax.Array, l2: jax.Array, centre: bool) -> Scaled:
    """Samples about their mean, and factors that bring the Hessian's diagonal near 1."""
    mean = shares @ x if centre else jnp.zeros(x.shape[1])
    away = x - mean[None]
    variance = shares @ (away * away)
    noise = (10 * jnp.finfo(x.dtype).eps * jnp.abs(x).max(0)) ** 2  # Of a constant feature.
    curvature = jnp.where(variance > noise, variance / 4, 0) + l2
    factor = jnp.where(curvature > 0, jnp.where(curvature > 0, curvature, 1) ** -0.5, 0)
    return Scaled(away, mean, factor)


@partial(jax.jit, static_argnames="centre")
def _least_squares(
    x: jax.Array, t: jax.Array, shares: jax.Array, l2: jax.Array | None, centre: bool
) -> DenseParams:
    """The solution by an SVD; the penalty is a row sqrt(l2) of residuals for each weight."""
    mean = shares @ x if centre else jnp.zeros(x.shape[1])
    level = shares @ t if centre else jnp.zeros(t.shape[1])
    root = jnp.sqrt(shares)[:, None]
    rows, targets = root * (x - mean[None]), root * (t - level[None])
    if l2 is not None:
        n = x.shape[1]
        rows = jnp.concatenate([rows, jnp.sqrt(l2) * jnp.eye(n)])
        targets = jnp.concatenate([targets, jnp.zeros((n, t.shape[1]))])
    w = jax.vmap(svd_solve, (None, 1), 1)(rows, targets)  # One SVD for all columns.
    return DenseParams(w, level - mean @ w if centre else None)
