"""Trainers of multilayer perceptrons and of LeNet, ours and others', as their users write them.

Each takes a `Task` and returns a function that trains from new parameters and returns the accuracy
on the data that were held out. None is returned where a package is missing.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import jnn

Trainer = Callable[[], float]
CONVOLUTIONS = ((1, 32), (32, 64))  # In and out of filters of 5 x 5, a pool of 2 x 2 behind each.


class Task(NamedTuple):
    """What is trained: layers' sizes with the input's, data, and how long.

    Of LeNet the sizes are those of the dense layers; its convolutions are `CONVOLUTIONS`.
    """

    name: str
    sizes: tuple[int, ...]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    epochs: int
    batch: int
    rate: float = 1e-3

    @property
    def images(self) -> bool:
        """Whether it is LeNet that is trained."""
        return self.train[0].ndim == 4

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """In and out of each dense layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def steps(self) -> int:
        """How many steps a run has; the last batch of an epoch may be shorter."""
        return self.epochs * -(-len(self.train[0]) // self.batch)

    def starts(self) -> range:
        """Where the batches of an epoch begin."""
        return range(0, len(self.train[0]), self.batch)


def ours(task: Task) -> Trainer:
    """`jnn.fit`."""
    mlp = jnn.models.mlp(task.sizes[1:], activation="relu")
    net = jnn.models.modern_lenet() if task.images else mlp
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
            if v.ndim == 4:
                axes = ("NHWC", "HWIO", "NHWC")
                x = lax.conv_general_dilated(x, v, (1, 1), "VALID", dimension_numbers=axes)
                pool = (1, 2, 2, 1)
                x = lax.reduce_window(jax.nn.relu(x + c), -jnp.inf, lax.max, pool, pool, "VALID")
            else:
                x = jax.nn.relu(x.reshape(len(x), -1) @ v + c)
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
        shapes = [(5, 5, n, m) for n, m in CONVOLUTIONS if task.images] + task.pairs
        for i, shape in enumerate(shapes):
            limit = np.sqrt(6 / (sum(shape[-2:]) * np.prod(shape[:-2])))
            w = np.random.default_rng(i).uniform(-limit, limit, shape)
            params.append((jnp.asarray(w, jnp.float32), jnp.zeros(shape[-1])))
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

    class Net(nnx.Module):
        def __init__(self, rngs: Any):
            maps = CONVOLUTIONS if task.images else ()
            self.convs = nnx.List(
                [nnx.Conv(n, m, (5, 5), padding="VALID", rngs=rngs) for n, m in maps]
            )
            self.layers = nnx.List([nnx.Linear(n, m, rngs=rngs) for n, m in task.pairs])

        def __call__(self, x: Any) -> Any:
            for conv in self.convs:
                x = nnx.max_pool(nnx.relu(conv(x)), (2, 2), (2, 2))
            x = x.reshape(len(x), -1)
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
        model = Net(nnx.Rngs(0))
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
    first = (0, 3, 1, 2) if task.images else (0, 1)  # Channels first.
    x, held = (torch.tensor(part[0].transpose(first)) for part in (task.train, task.test))
    t = torch.tensor(task.train[1], dtype=torch.long)

    def run() -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        layers: list[Any] = []
        for n, m in CONVOLUTIONS if task.images else ():
            layers += [torch.nn.Conv2d(n, m, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        layers.append(torch.nn.Flatten())
        for n, m in task.pairs:
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
    """scikit-learn's `MLPClassifier`, which knows no convolutions."""
    if task.images:
        return None
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
