"""Logistic regression where a line separates the classes, and where none does (D-15, D-16, T §2).

    python examples/logistic_regression.py [--short] [--out FOLDER]

Three sets of points in the plane. A regression on the two coordinates draws a line; on all
monomials up to the third degree (D-15), a cubic curve; on features that a layer has learned (D-16),
what it needs. Below, one unit as Delmas trains it, by the squared error, with the logistic function
and with the soft one, whose tails fall as 1/z instead of e^-z. Both start with the classes swapped
and sure of it: there only the few points near its line move the logistic unit, and the soft one
finds back sooner.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.estimators import LogisticRegression, MLPClassifier


class Points(NamedTuple):
    """Samples in the plane, and their classes."""

    x: np.ndarray
    y: np.ndarray


def clouds(n: int, *, seed: int = 0) -> Points:
    """Two clouds that a line separates but for some points."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    middle = np.where(y[:, None] == 1, 1.1, -1.1) * np.array([1, -0.5])
    x = random.normal(size=(n, 2)) * [1.0, 0.5] + middle
    return Points(x.astype(np.float32), y)


def cubic(x: jax.Array) -> jax.Array:
    return jnn.models.monomials(x, 3)


def descend(name: str, points: Points, steps: int) -> tuple[jnn.Layer, Any, np.ndarray]:
    """D's model: a unit of that activation, its parameters after descent, and each step's loss."""
    net, descent = jnn.dense(1, activation=name), jnn.gd(1.0)
    x, t = jnp.asarray(points.x), jnp.asarray(points.y[:, None], jnp.float32)

    def step(params: Any, _: Any) -> tuple[Any, jax.Array]:
        loss = lambda p: jnn.squared_error(net(p, x), t).mean()  # noqa: E731
        value, grads = jax.value_and_grad(loss)(params)
        updates, _ = descent.update(grads, descent.init(params))
        return jnn.apply_updates(params, updates), value

    swapped = jnn.layers.DenseParams(jnp.array([[-8.0], [8.0]]), jnp.zeros(1))
    params, losses = jax.jit(lambda p: jax.lax.scan(step, p, length=steps))(swapped)
    return net, params, np.asarray(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer points and steps")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()

    n, steps = (120, 40) if options.short else (400, 300)
    sets = {
        "two clouds": [clouds(k, seed=s) for s, k in enumerate((n, 2000))],
        "two moons": [jnn.data.two_moons(k, noise=0.15, seed=s) for s, k in enumerate((n, 2000))],
        "circles": [jnn.data.circles(k, noise=0.1, seed=s) for s, k in enumerate((n, 2000))],
    }
    models = {
        "the coordinates": LogisticRegression(l2=1e-3),
        "monomials": LogisticRegression(l2=1e-3, features=cubic),
        "a learned layer": MLPClassifier(
            hidden=(16,), activation="tanh", solver=jnn.lbfgs(), epochs=steps, l2=1e-3
        ),
    }
    picture = plots.figure(13, 15)
    *rows, last = picture.subfigures(4, 1, squeeze=False)[:, 0]
    print(f"share of 2000 new points whose class is found, after {n} points\n")
    print(" " * 12 + "".join(f"{name:>18}" for name in models))
    for row, (title, (train, test)) in zip(rows, sets.items(), strict=True):
        scores = []
        for part, (name, model) in zip(
            row.subfigures(1, 3, squeeze=False)[0], models.items(), strict=True
        ):
            scores.append(model.fit(*train).score(*test))
            said = f"{title}, {name}: {100 * scores[-1]:.1f} %"
            plots.decision_boundary(model.predict_proba, *train, title=said, figure=part)
        print(f"{title:12}" + "".join(f"{100 * score:16.1f} %" for score in scores))

    train, test = sets["two clouds"]
    function, boundary, descent = last.subfigures(1, 3, squeeze=False)[0]
    z, shapes, losses, count = np.linspace(-8, 8, 201), {}, {}, 1500
    print(f"\none unit on two clouds, from swapped classes, by {count} steps of descent")
    print("                derivative at z = 8     steps to half the loss     found")
    for title, name in (("logistic", "sigmoid"), ("soft logistic", "soft_logistic")):
        rule = getattr(jnn.rules, name)
        shapes[title] = np.asarray(rule(jnp.asarray(z)))
        net, params, losses[title] = descend(name, train, count)
        proba = lambda x, net=net, params=params: net(params, jnp.asarray(x, jnp.float32))[:, 0]  # noqa: E731
        found = np.mean((np.asarray(proba(test.x)) > 0.5) == test.y)
        half = np.sum(losses[title] > losses[title][0] / 2)
        print(f"{title:14}{jax.grad(rule)(8.0):21.5f}{half:24}{100 * found:13.1f} %")
    plots.curves(z, shapes, x_label="z = w x + b", y_label="p", title="two functions",
                 figure=function)  # fmt: skip
    said = f"soft logistic unit: {100 * found:.1f} %"
    plots.decision_boundary(proba, *train, title=said, figure=boundary)
    plots.curves(np.arange(count), losses, x_label="step of descent", y_label="mean squared error",
                 title="from swapped classes", figure=descent)  # fmt: skip
    file = options.out / "logistic_regression.png"
    options.out.mkdir(parents=True, exist_ok=True)
    picture.savefig(file)
    print(f"\npicture: {file}")


if __name__ == "__main__":
    main()
