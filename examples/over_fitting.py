"""Over-fitting and the L-curve (T §1): polynomials of degree 1 to 100 on 101 noisy points.

    python examples/over_fitting.py [--short] [--out FOLDER]

The error on the points that were fitted falls to zero with the degree; on other readings of the
same function it falls, and then rises to twice the noise: the polynomial has learned the noise of
its own points. The elbow of the first curve, for which no other readings are needed, lies near the
least of the second. The oracle knows the three functions that the data are made of, and fits only
their coefficients.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.estimators import LinearRegression

jax.config.update("jax_enable_x64", True)

DEGREES = np.arange(1, 101)
ALPHA, SIGMA = (0.3, 1.0, 0.5), 0.5


def parts(x: jax.Array) -> jax.Array:
    """What T-1 adds up."""
    return jnp.concatenate([x, jnp.sin(10 * x), jnp.exp(2 * x)], axis=1)


def errors_by_degree(q: np.ndarray, made: jnn.data.Regression) -> tuple:
    """The fit of each degree, a column each, and its mean squared errors."""
    # The basis is orthonormal: a higher degree adds a term, and changes none.
    fitted = np.cumsum(q * (q.T @ made.train), axis=1)[:, 1:]
    return fitted, *(np.mean((fitted - y[:, None]) ** 2, axis=0) for y in (made.train, made.test))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="20 draws of the noise, not 1000")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()

    made = jnn.data.over_fitting(alpha=ALPHA, sigma=SIGMA)
    q = np.asarray(jnn.models.orthonormal(jnp.asarray(made.x), 100).values)
    fitted, train, test = errors_by_degree(q, made)
    elbow, best = jnn.models.elbow(DEGREES, train), int(test.argmin())

    x = made.x[:, None]
    oracle = LinearRegression(features=parts, fit_intercept=False).fit(x, made.train)
    oracle_test = float(np.mean((oracle.predict(x) - made.test) ** 2))

    print("degree   error, fitted points   error, other readings")
    for degree in (1, 3, 5, 7, 10, 15, 20, 30, 50, 80, 100):
        mark = "  <- elbow" if degree == DEGREES[elbow] else ""
        print(f"{degree:6}   {train[degree - 1]:20.4f}   {test[degree - 1]:21.4f}{mark}")
    print(f"elbow: degree {DEGREES[elbow]} with error {test[elbow]:.4f}; "
          f"best: degree {DEGREES[best]} with {test[best]:.4f}")  # fmt: skip
    print(f"oracle: {oracle.coef_.round(3)} for {list(ALPHA)}, error {oracle_test:.4f}; "
          f"the noise alone has {SIGMA**2:.4f}")  # fmt: skip

    ratios, picked = [], []
    for seed in range(20 if options.short else 1000):
        draw = jnn.data.over_fitting(alpha=ALPHA, sigma=SIGMA, seed=seed)
        _, a, b = errors_by_degree(q, draw)
        picked.append(DEGREES[jnn.models.elbow(DEGREES, a)])
        ratios.append(b[picked[-1] - 1] / b.min())
    print(f"over {len(ratios)} draws of the noise the elbow is at degree {np.median(picked):g} "
          f"({np.min(picked)} to {np.max(picked)}), and its error {np.median(ratios):.3f} times "
          "that of the best degree (median)")  # fmt: skip

    picture = plots.figure(12, 4.6)
    left, right = picture.subfigures(1, 2, squeeze=False)[0]
    axes = plots.styled(left.add_subplot())
    axes.plot(made.x, made.train, "o", color=plots.FAINT, markeredgecolor=plots.INK,
              markeredgewidth=0.5, markersize=4, label="points that are fitted")  # fmt: skip
    axes.plot(made.x, made.truth, color=plots.BLACK, linewidth=2.2, label="truth")
    for degree, style in zip((2, DEGREES[elbow], 40), plots.STYLES, strict=False):
        name = f"degree {degree}" + (", the elbow" if degree == DEGREES[elbow] else "")
        axes.plot(made.x, fitted[:, degree - 1], color=style[0], linestyle=style[1], label=name)
    axes.set(xlabel="x", ylabel="y")
    axes.legend(frameon=False, fontsize=9)
    file = options.out / "over_fitting.png"
    levels = {"oracle, other readings": oracle_test}
    curves = {"fitted points": train, "other readings": test}
    plots.l_curve(DEGREES, curves, file, elbow=elbow, levels=levels, figure=right)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
