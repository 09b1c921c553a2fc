"""Convolutions as matrices: Toeplitz's form, its transpose, and strides (X-135, X-136, D-36, D-37).

    python examples/toeplitz.py [--short] [--out FOLDER]

A convolution is a dense layer whose weights are mostly zero and tied. The matrices are built, their
products held against `jnn.rules.conv`, and those of the transposed ones against its hand-written
backward, on a real digit. Xu prints the Toeplitz matrix of the full convolution beside a valid
correlation; both are shown.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.layers import IMAGE_FILTERS
from jnn.rules import conv, convolution_matrix, toeplitz

jax.config.update("jax_enable_x64", True)


class Row(NamedTuple):
    """A convolution, its matrix, and how far the products of the two are apart."""

    name: str
    matrix: np.ndarray
    forward: float
    backward: float


def one_dimension(size: int, random: np.random.Generator) -> Row:
    """The full convolution of X-135, which flips the filter."""
    w, a, delta = (
        jnp.array([3.0, -1.0, 0.5]),
        random.normal(size=size),
        random.normal(size=size + 2),
    )
    matrix = toeplitz(w, size)

    def full(a: Any) -> jax.Array:
        return conv(a.reshape(1, -1, 1), w[::-1].reshape(-1, 1, 1), None, padding=2).ravel()

    y, back = jax.vjp(full, a)
    return Row(
        f"full, filter of 3 on {size} numbers",
        np.asarray(matrix),
        float(abs(matrix @ a - y).max()),
        float(abs(matrix.T @ delta - back(delta)[0]).max()),
    )


def images(x: np.ndarray, w: Any, name: str, **settings: Any) -> Row:
    """A convolution of an image; a row of the matrix shown belongs to a pixel of the output."""
    matrix = convolution_matrix(w, x.shape[1:3], **settings)
    y, back = jax.vjp(lambda x: conv(x, w, None, **settings), x)
    delta = jnp.cos(jnp.arange(y.size, dtype=float)).reshape(y.shape)
    (dx,) = back(delta)  # the transposed matrix times the delta.
    return Row(
        name,
        np.asarray(matrix.T),
        float(abs(x.ravel() @ matrix - y.ravel()).max()),
        float(abs(matrix @ delta.ravel() - dx.ravel()).max()),
    )


def draw(rows: list[Row], file: Path) -> None:
    picture = plots.figure(11, 8.6)
    shown = None
    for k, row in enumerate(rows):
        axes = picture.add_subplot(2, 2, k + 1)
        limit = np.abs(row.matrix).max()
        shown = axes.imshow(row.matrix, cmap=plots.SIGNED, vmin=-limit, vmax=limit, aspect="auto",
                            interpolation="nearest")  # fmt: skip
        axes.set_title(row.name, loc="left", fontsize=11, fontweight="bold")
        axes.set(xlabel="input", ylabel="output")
        picture.colorbar(shown, ax=axes, label="weight")
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="the same, on a piece of the digit")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    side = 6 if options.short else 8

    digit = jnn.data.digits().test.x[:1, :side, :side].astype(float)
    edges = jnp.asarray(IMAGE_FILTERS["edges_y"])[..., None, None]
    maps = jnp.asarray(random.normal(size=(3, 3, 1, 3)))
    rows = [
        one_dimension(2 * side, random),
        images(digit, edges, f"valid, edges on {side} x {side} pixels"),
        images(digit, edges, f"same size, padded, {side} x {side} pixels", padding="same"),
        images(digit, maps, "three maps, stride 2, padded", stride=2, padding="same"),
    ]
    print(f"{'convolution':36}{'matrix':>10}{'non-zero':>10}{'forward':>10}{'backward':>10}")
    for row in rows:
        shape = " x ".join(map(str, row.matrix.shape))
        filled = np.count_nonzero(row.matrix) / row.matrix.size
        print(f"{row.name:36}{shape:>10}{filled:10.0%}{row.forward:10.0e}{row.backward:10.0e}")
    print("forward, backward: by how much the products differ from those of jnn.rules.conv")

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "toeplitz.png"
    draw(rows, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
