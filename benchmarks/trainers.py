"""Trainers of multilayer perceptrons, ours and others', each as its users would write it.

Each takes a `Task` and returns a function that trains from new parameters and returns the accuracy
on the data that were held out. None is returned where a package is missing.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jnn

Trainer = Callable[[], float]


class Task(NamedTuple):
    """What is trained: layers' sizes with the input's, data, and how long."""

    name: str
    sizes: tuple[int, ...]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    epochs: int
    batch: int
    rate: float = 1e-3

    @property
    def steps(self) -> int:
        """How many steps a run has; the last batch of an epoch may be shorter."""
        return self.epochs * -(-len(self.train[0]) // self.batch)

    def starts(self) -> range:
        """Where the batches of an epoch begin."""
        return range(0, len(self.train[0]), self.batch)


def ours(task: Task) -> Trainer:
    """`jnn.fit`."""
    net = jnn.models.mlp(task.sizes[1:], activation="relu")
    optimizer = jnn.adam(task.rate)
    predict = jax.jit(lambda params, x: net(params, x).argmax(-1))

    def run() -> float:
        fit = jnn.fit(net, jnn.softmax_cross_entropy, optimizer, task.train, epochs=task.epochs,
                      batch_size=task.batch, progress=None)  # fmt: skip
        return float(np.mean(np.asarray(predict(fit.params, task.test[0])) == task.test[1]))

    return run


def with_optax(task: Task) -> Trainer | None:
    """A Python loop over a jitted step, in plain JAX and optax."""
    try:
        import optax  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    optimizer = optax.adam(task.rate)

    def apply(params: Any, x: Any) -> Any:
        *hidden, (w, b) = params
        for v, c in hidden:
            x = jax.nn.relu(x @ v + c)
        return x @ w + b

    def loss(params: Any, x: Any, t: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), t).mean()

    @jax.jit
    def step(params: Any, state: Any, x: Any, t: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, x, t)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    predict = jax.jit(lambda params, x: apply(params, x).argmax(-1))
    (x, t), random = task.train, np.random.default_rng(0)

    def run() -> float:
        params = []
        for i, (n, m) in enumerate(zip(task.sizes[:-1], task.sizes[1:], strict=True)):
            limit = np.sqrt(6 / (n + m))
            w = np.random.default_rng(i).uniform(-limit, limit, (n, m))
            params.append((jnp.asarray(w, jnp.float32), jnp.zeros(m)))
        state = optimizer.init(params)
        for _ in range(task.epochs):
            order = random.permutation(len(x))
            for i in task.starts():
                rows = order[i : i + task.batch]
                params, state, _ = step(params, state, x[rows], t[rows])
        return float(np.mean(np.asarray(predict(params, task.test[0])) == task.test[1]))

    return run


def with_nnx(task: Task) -> Trainer | None:
    """Flax NNX, a Python loop over `nnx.jit`."""
    try:
        import optax  # pyright: ignore[reportMissingImports]
        from flax import nnx  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None

    class MLP(nnx.Module):
        def __init__(self, rngs: Any):
            pairs = zip(task.sizes[:-1], task.sizes[1:], strict=True)
            self.layers = nnx.List([nnx.Linear(n, m, rngs=rngs) for n, m in pairs])

        def __call__(self, x: Any) -> Any:
            for layer in self.layers[:-1]:
                x = nnx.relu(layer(x))
            return self.layers[-1](x)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, t: Any) -> Any:
        def loss(model: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(model(x), t).mean()

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    predict = nnx.jit(lambda model, x: model(x).argmax(-1))
    (x, t), random = task.train, np.random.default_rng(0)

    def run() -> float:
        model = MLP(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, optax.adam(task.rate), wrt=nnx.Param)
        for _ in range(task.epochs):
            order = random.permutation(len(x))
            for i in task.starts():
                rows = order[i : i + task.batch]
                step(model, optimizer, x[rows], t[rows])
        return float(np.mean(np.asarray(predict(model, task.test[0])) == task.test[1]))

    return run


def with_torch(task: Task, threads: int) -> Trainer | None:
    """PyTorch, on that many threads; data permuted once an epoch, batches are slices."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    x, t = torch.tensor(task.train[0]), torch.tensor(task.train[1], dtype=torch.long)
    held = torch.tensor(task.test[0])

    def run() -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        layers: list[Any] = []
        for n, m in zip(task.sizes[:-1], task.sizes[1:], strict=True):
            layers += [torch.nn.Linear(n, m), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(net.parameters(), task.rate)
        loss = torch.nn.CrossEntropyLoss()
        for _ in range(task.epochs):
            order = torch.randperm(len(x))
            shuffled, labels = x[order], t[order]
            for i in task.starts():
                optimizer.zero_grad()
                loss(net(shuffled[i : i + task.batch]), labels[i : i + task.batch]).backward()
                optimizer.step()
        with torch.no_grad():
            found = net(held).argmax(-1).numpy()
        torch.set_num_threads(before)
        return float(np.mean(found == task.test[1]))

    return run


def with_sklearn(task: Task) -> Trainer | None:
    """scikit-learn's `MLPClassifier`."""
    try:
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        return None

    def run() -> float:
        batch: Any = task.batch  # Its stubs know "auto" only.
        net = MLPClassifier(task.sizes[1:-1], batch_size=batch, max_iter=task.epochs,
                            learning_rate_init=task.rate, alpha=0, tol=0, random_state=0,
                            n_iter_no_change=task.epochs)  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns that more epochs might help.
            net.fit(*task.train)
        return float(net.score(*task.test))

    return run


def trainers(task: Task) -> dict[str, Trainer]:
    """All that are installed, by name."""
    found = {
        "jnn.fit": ours(task),
        "JAX and optax, a loop": with_optax(task),
        "Flax NNX, a loop": with_nnx(task),
        "PyTorch, 1 thread": with_torch(task, 1),
        "PyTorch, 2 threads": with_torch(task, 2),
        "scikit-learn": with_sklearn(task),
    }
    return {name: run for name, run in found.items() if run is not None}
