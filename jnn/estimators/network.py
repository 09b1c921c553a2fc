"""Networks with scikit-learn's face: how any of them is trained, whatever its layers are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from jnn import data, errors, optim
from jnn.estimators import reading
from jnn.estimators.descending import made
from jnn.estimators.estimator import Classifier, Estimator, Regressor
from jnn.layers.core.layer import Layer
from jnn.rules.linear.penalty import l2 as penalty
from jnn.rules.losses.regression import half_squared_error
from jnn.rules.losses.softmax import softmax
from jnn.rules.losses.softmax_entropy import softmax_cross_entropy
from jnn.solve.drive import Solver
from jnn.solve.least_squares import least_squares
from jnn.solve.minimize import minimize
from jnn.solve.problem import Squares
from jnn.train.fit import fit
from jnn.train.program.stopping import patience
from jnn.value import constructor
from jnn.xla.cache import kept

Loss = Callable[[Any, Any], jax.Array]


@dataclass(kw_only=True, eq=False, repr=False)
class Network(Estimator):
    """A network that trains: the settings that all of them have."""

    solver: Any = None
    epochs: int = 200
    batch_size: int = 32
    l2: float = 0.0
    validation: float = 0.0
    patience: int | None = None
    standardise: bool = True
    key: int = 0
    progress: str | None = None

    _images: ClassVar[bool] = False  # Whether a sample may have more axes than one.

    def _begin(self, x: Any) -> np.ndarray:
        """The samples to learn from, as the network reads them."""
        name = type(self).__name__
        errors.positive_integer(name, "epochs", self.epochs)
        errors.number(name, "l2", self.l2, low=0)
        errors.number(name, "validation", self.validation, low=0, high=0.9)
        x = reading.read_samples(name, x, images=self._images)
        self._shape_ = self._example(x.shape[1:])
        self.n_features_in_ = prod(self._shape_)
        return x.reshape(len(x), *self._shape_)

    def _example(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which the network reads a sample, from that in which it is given."""
        return given

    @kept()
    def _train(
        self, x: np.ndarray, t: np.ndarray, scale: data.Scale | None, loss: Loss, weights: Any
    ) -> Self:
        """Learns; `t` are scaled targets, or class indices."""
        inputs, net, key = self._scale(x), self._net(self._width), jax.random.key(self.key)
        samples = inputs(x).astype(np.float32)
        state = _begun(net, key, jax.ShapeDtypeStruct(samples.shape, samples.dtype))[1]
        params = self._start(net, key, samples)
        solver = self._default() if self.solver is None else made(self.solver)
        if isinstance(solver, Solver):
            params = self._solve(net, solver, params, samples, t, loss, weights)
        else:
            given = (samples, t) if weights is None else (samples, t, weights.astype(np.float32))
            params, state = self._descend(net, solver, (params, state), given, loss)
        self.params_, self.state_ = jax.tree.map(np.asarray, (params, state))
        self.scale_ = inputs
        self.target_scale_ = scale
        return self

    def _descend(
        self, net: Layer, solver: Any, start: tuple[Any, Any], given: tuple[Any, ...], loss: Loss
    ) -> tuple[Any, Any]:
        """By `jnn.fit`, batch by batch: from parameters and state to others."""
        optimizer = _with_decay(float(self.l2), solver) if self.l2 else solver
        held_out, stop = None, ()
        if self.validation:
            classes = given[1] if self._kind == "classifier" else None
            given, held_out = data.split(given, float(self.validation), key=self.key,
                                         labels=classes)  # fmt: skip
        if self.patience is not None:
            stop = patience(self.patience)
        found = fit(
            net, loss, optimizer, given, epochs=self.epochs, batch_size=self.batch_size,
            key=self.key, validation=held_out, params=start[0], state=start[1], stop=stop,
            progress=self.progress, metrics="accuracy" if self._kind == "classifier" else (),
        )  # fmt: skip
        self.history_, self.message_ = found.history, found.message
        return found.params, found.state

    def _solve(
        self, net: Layer, solver: Solver, params: Any, x: Any, t: Any, loss: Loss, weights: Any
    ) -> Any:
        """By `jnn.minimize` or `jnn.least_squares`, on all samples at once."""
        if self.validation or self.patience is not None:
            got = f"validation={self.validation}, patience={self.patience}"
            remedy = "A solver sees all samples and stops by itself; jnn.adam() can be stopped."
            errors.fail(type(self).__name__, "solver", "an optimizer to stop early by validation",
                        f"{solver.name} with {got}", remedy)  # fmt: skip
        if getattr(self, "dropout", 0) or getattr(self, "norm", None) == "batch":
            expected = "an optimizer such as jnn.adam() with dropout or batch norm"
            errors.fail(type(self).__name__, "solver", expected, solver.name)
        shares = np.ones(len(x)) if weights is None else weights
        shares = jnp.asarray(shares / shares.sum(), jnp.float32)
        given = (jnp.asarray(x), jnp.asarray(t), shares, jnp.float32(self.l2))
        squares = solver.solves is Squares
        if squares and getattr(loss, "squares", None) != 1:
            errors.fail(type(self).__name__, "solver", "one for a value, such as jnn.lbfgs()",
                        f"{solver.name}, one for {solver.solves.what}")  # fmt: skip
        find, f = (least_squares, _residual(net)) if squares else (minimize, _mean_loss(net, loss))
        found = find(f, params, solver, args=given, max_steps=self.epochs)
        self.message_ = found.message
        return found.params

    def _scale(self, x: np.ndarray) -> data.Scale:
        """Of the inputs, feature by feature."""
        if not self.standardise:
            return data.Scale(np.zeros(x.shape[1:], np.float32), np.ones(x.shape[1:], np.float32))
        mean, deviation = data.standardise(x)[-1]
        return data.Scale(mean.astype(np.float32), deviation.astype(np.float32))

    def _start(self, net: Layer, key: jax.Array, x: np.ndarray) -> Any:
        """The parameters to begin with."""
        return _begun(net, key, jax.ShapeDtypeStruct(x.shape, x.dtype))[0]

    def _default(self) -> Any:
        """The solver, where none is named."""
        return optim.adam(1e-3)

    @kept()
    def _outputs(self, x: Any) -> jax.Array:
        """What the network says; of classes, their probabilities."""
        params = self._fitted()
        x = reading.read_samples(type(self).__name__, x, self.n_features_in_, images=self._images)
        samples = self.scale_(x.reshape(len(x), *self._shape_))
        net = self._net(self._width)
        return _apply(net, params, self.state_, samples, self._kind == "classifier")


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkClassifier(Network, Classifier):
    """A network whose softmax is a probability of classes."""

    class_weight: dict[Any, float] | str | None = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learns from samples and their classes (m,); returns itself."""
        x = self._begin(X)
        numbers, weights = self._classes(y, sample_weight, len(x))
        return self._train(x, numbers.astype(np.int32), None, softmax_cross_entropy, weights)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (m, classes), in the order of `classes_`."""
        return np.asarray(self._outputs(X))


@dataclass(kw_only=True, eq=False, repr=False)
class NetworkRegressor(Network, Regressor):
    """A network whose outputs are numbers."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learns from samples (m, n) and targets (m,) or (m, k); returns itself."""
        name, x = type(self).__name__, self._begin(X)
        y = reading.values(name, y, len(x))
        weights = reading.weights(sample_weight, len(x))
        self._outputs_ = y.shape[1] if y.ndim == 2 else None
        t, scale = data.standardise(y.reshape(len(x), -1))
        scale = data.Scale(*(a.astype(np.float32) for a in scale))
        return self._train(x, t.astype(np.float32), scale, half_squared_error, weights)

    def predict(self, X: Any) -> np.ndarray:
        """The value, or values, of each sample."""
        y = np.asarray(self._outputs(X))
        y = self.target_scale_.undo(y).astype(np.float64)
        return y if self._outputs_ else y[:, 0]


def units(counts: int | Sequence[int]) -> tuple[int, ...]:
    """How many units each layer has, also where there is one layer only."""
    return (counts,) if isinstance(counts, int) else tuple(counts)


@partial(jax.jit, static_argnames=("net", "x"))
def _begun(net: Layer, key: jax.Array, x: jax.ShapeDtypeStruct) -> Any:
    return net.init(key, x)


def _with_decay(l2: float, optimizer: Any) -> Any:
    """The gradient of (l2 / 2) |w|^2 before the optimizer; biases are not shrunk."""
    return optim.chain(optim.decay(l2, where=_is_matrix), optimizer)


def _is_matrix(path: str, leaf: Any) -> bool:
    del path
    return leaf.ndim > 1


@partial(jax.jit, static_argnames=("net", "classes"))
def _apply(net: Layer, params: Any, state: Any, x: Any, classes: bool) -> jax.Array:
    y = net(params, x, state)
    return softmax(y) if classes else y


@constructor
def _mean_loss(net: Layer, loss: Loss) -> Callable[..., jax.Array]:
    def mean_loss(params: Any, x: Any, t: Any, shares: jax.Array, l2: jax.Array) -> jax.Array:
        return (loss(net(params, x), t) * shares).sum() + l2 * penalty(params, biases=False)

    return mean_loss


@constructor
def _residual(net: Layer) -> Callable[..., Any]:
    def residual(params: Any, x: Any, t: Any, shares: jax.Array, l2: jax.Array) -> Any:
        away = net(params, x) - t
        weights = [w for w in jax.tree.leaves(params) if w.ndim > 1]
        root = jnp.broadcast_to(jnp.sqrt(shares)[:, None], away.shape)
        return root * away, [jnp.sqrt(l2) * w for w in weights]

    return residual
