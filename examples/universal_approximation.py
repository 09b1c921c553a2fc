"""Universal approximation: the error of a network with one hidden layer against its width (T §3.1).

    python examples/universal_approximation.py [--short] [--out FOLDER]

Treister asks for an activation that is not linear; it must not be a polynomial. Networks of each
width are fitted to a function on an interval by Levenberg and Marquardt, from several starts, all
in one compiled program. The error of tanh, the sigmoid and the rectifier falls as the layer widens;
that of a square or a cube ends where the best parabola's or cubic's does, however wide the layer.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots

jax.config.update("jax_enable_x64", True)

X = np.linspace(-1, 1, 101)[:, None]


def target(x: Any) -> Any:
    return np.cos(5 * x) + 0.5 * np.sin(11 * x)


@jnn.rule
def square(x: jax.Array) -> jax.Array:
    """The square.

    Saves: x.
    """
    return x * x


@jnn.rules.elementwise(square, saves="x")
def square_derivative(x: jax.Array, v: jax.Array) -> jax.Array:
    return 2 * x * v


@jnn.rule
def cube(x: jax.Array) -> jax.Array:
    """The cube.

    Saves: x.
    """
    return x * x * x


@jnn.rules.elementwise(cube, saves="x")
def cube_derivative(x: jax.Array, v: jax.Array) -> jax.Array:
    return 3 * x * x * v


ACTIVATIONS = {
    "tanh": jnn.rules.tanh,
    "sigmoid": jnn.rules.sigmoid,
    "rectifier": jnn.rules.relu,
    "square": square,
    "cube": cube,
}


def fitted(widths: np.ndarray, starts: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of several fits with each activation and width: predictions, and their errors."""
    most = int(widths.max())
    x, t = jnp.asarray(X), jnp.asarray(target(X))

    def output(params: Any, kind: jax.Array, open_units: jax.Array) -> jax.Array:
        w, b, v, c = params
        hidden = jax.lax.switch(kind, list(ACTIVATIONS.values()), jnn.rules.affine(x, w, b))
        return jnn.rules.affine(hidden * open_units, v, c)  # Units beyond the width are shut.

    def fit(key: jax.Array, kind: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
        open_units = jnp.broadcast_to(jnp.arange(most) < width, (len(X), most)).astype(float)
        slopes, places = jax.random.split(key)
        w = 6 * jax.random.normal(slopes, (1, most))
        b = -w[0] * jax.random.uniform(places, (most,), float, -1, 1)  # Bends lie on the interval.
        start = (w, b, jnp.zeros((most, 1)), jnp.zeros(1))
        result = jnn.least_squares(
            lambda params: output(params, kind, open_units) - t, start, max_steps=steps
        )
        y = output(result.params, kind, open_units)[:, 0]
        return y, jnp.sqrt(jnp.mean(jnp.square(y - t[:, 0])))

    @jax.jit
    def all_fits(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        over_starts = jax.vmap(fit, in_axes=(0, None, None))
        over_widths = jax.vmap(over_starts, in_axes=(None, None, 0))
        over_kinds = jax.vmap(over_widths, in_axes=(None, 0, None))
        return over_kinds(keys, jnp.arange(len(ACTIVATIONS)), jnp.asarray(widths))

    y, error = map(np.asarray, all_fits(jax.random.split(jax.random.key(0), starts)))
    best = np.nanargmin(error, axis=-1)[..., None]
    y = np.take_along_axis(y, best[..., None], axis=2)[:, :, 0]
    return y, np.take_along_axis(error, best, axis=-1)[..., 0]


def best_polynomial(degree: int) -> float:
    """The least root mean square error of a polynomial: where a power's networks must end."""
    t = target(X[:, 0])
    return float(
        np.sqrt(np.mean((np.polynomial.Polynomial.fit(X[:, 0], t, degree)(X[:, 0]) - t) ** 2))
    )


def table(widths: np.ndarray, error: np.ndarray) -> str:
    lines = [f"{'error by width':16}" + "".join(f"{w:10}" for w in widths)]
    for name, row in zip(ACTIVATIONS, error, strict=True):
        lines.append(f"{name:16}" + "".join(f"{e:10.2e}" for e in row))
    return "\n".join(lines)


def draw(widths: np.ndarray, y: np.ndarray, error: np.ndarray, file: Path) -> None:
    """The errors on the left; on the right what the widest layers make of the function."""
    picture = plots.figure(11, 4.4)
    left, right = np.asarray(picture.subfigures(1, 2))
    plots.curves(
        widths, dict(zip(ACTIVATIONS, error, strict=True)), x_label="units in the hidden layer",
        y_label="root mean square error", log="xy", title="Error against width", figure=left,
    )  # fmt: skip
    axes = left.axes[0]
    axes.set_xticks(widths, [str(w) for w in widths])
    axes.minorticks_off()
    shown = {"the function": target(X[:, 0])}
    shown |= {
        name: y[i, -1] for i, name in enumerate(ACTIVATIONS) if name in ("tanh", "square", "cube")
    }
    plots.curves(
        X[:, 0],
        shown,
        x_label="x",
        y_label="y",
        title=f"The function, and networks of {widths[-1]} units",
        figure=right,
    )
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="narrow layers, two starts")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    most, starts, steps = (4, 2, 10) if options.short else (32, 4, 80)

    widths = 2 ** np.arange(int(np.log2(most)) + 1)
    y, error = fitted(widths, starts, steps)
    print(table(widths, error))
    print(f"the best parabola {best_polynomial(2):.2e}, the best cubic {best_polynomial(3):.2e}")

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "universal_approximation.png"
    draw(widths, y, error, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
