"""Attention by hand: its gradient derived, held against autodiff, drawn, and its bytes counted.

    python examples/attention_by_hand.py [--short] [--out FOLDER]

Query i asks, key j answers, and y is the mean of the values by how well (M-22..25):

    s_ij = c q_i . k_j     p_ij = exp(s_ij) / sum_n exp(s_in)     y_i = sum_j p_ij v_j

Let d_i be the cotangent of y_i, and g(x) that of any other x. The last sum is linear in p and
in v, so that both have theirs at once:

    g(v_j) = sum_i p_ij d_i                                                     (M-31)
    g(p_ij) = d_i . v_j

The softmax of a row has the differential dp_ij = p_ij (ds_ij - sum_n p_in ds_in). Its matrix,
diag(p) - p p^T, is symmetric: it serves backwards too, and takes from g(p) the mean of its row,
sum_n p_in (d_i . v_n) = d_i . (sum_n p_in v_n) = d_i . y_i, for which no matrix is needed:

    D_i = d_i . y_i                                                             (M-32)
    g(s_ij) = p_ij (d_i . v_j - D_i)                                            (M-33)

Each row of it sums to zero: to raise all scores of a row changes nothing. The scores are a product,

    g(q_i) = c sum_j g(s_ij) k_j                                                (M-34)
    g(k_j) = c sum_i g(s_ij) q_i                                                (M-35)

`backward` below is that, line for line. The rule of the library has the same equations, in blocks:
p is made again from q and k where it is needed, so that no matrix of the scores is ever whole.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots

SIZE, LENGTH = 32, 48


def forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The values that one head was asked for, and p; no place, a row, sees a later one."""
    places = jnp.arange(len(q))
    s = q @ k.T / np.sqrt(q.shape[1])  # M-22
    s = jnp.where(places <= places[:, None], s, -jnp.inf)  # M-23
    e = jnp.exp(s - s.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)  # M-24
    return p @ v, p  # M-25


def backward(
    q: jax.Array, k: jax.Array, v: jax.Array, y: jax.Array, p: jax.Array, delta: jax.Array
) -> tuple[jax.Array, ...]:
    """The cotangents of q, k, v and of the scores."""
    c = 1 / np.sqrt(q.shape[1])
    dv = p.T @ delta  # M-31
    mean = (delta * y).sum(1, keepdims=True)  # M-32
    ds = p * (delta @ v.T - mean)  # M-33
    return c * ds @ k, c * ds.T @ q, dv, ds  # M-34, M-35


def by_rule(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """The library's rule, of a batch of one and one head."""
    q, k, v = (a[None, :, None] for a in (q, k, v))
    return jnn.rules.attention(q, k, v, causal=True)[0, :, 0]


def gradient(attention, q, k, v, delta):
    """Of what `delta` weighs, in q, k and v, by whatever derivative `attention` has."""
    return jax.vjp(attention, q, k, v)[1](delta)


def temporaries(attention, length: int) -> int:
    """Bytes that the compiled gradient takes beside what goes in and comes out."""
    x = jax.ShapeDtypeStruct((length, SIZE), jnp.float32)
    program = jax.jit(lambda *x: gradient(attention, *x)).lower(x, x, x, x).compile()
    memory = program.memory_analysis()
    assert memory is not None, "This compiler does not say what its programs take."
    return memory.temp_size_in_bytes


def draw(p: jax.Array, ds: jax.Array, lengths: list[int], counts: dict, file: Path) -> None:
    """The matrix of the scores, its gradient, and the bytes."""
    picture = plots.figure(15, 4.8)
    *matrices, right = np.asarray(picture.subfigures(1, 3))
    for part, matrix, name in zip(matrices, (p, ds), ("What is seen: p", "Gradient of the scores"),
                                  strict=True):  # fmt: skip
        axes = part.add_subplot()
        most = float(jnp.abs(matrix).max())
        signed = float(matrix.min()) < 0
        least, colours = (-most, plots.SIGNED) if signed else (0, "Blues")
        part.colorbar(axes.imshow(matrix, cmap=colours, vmin=least, vmax=most), shrink=0.8)
        axes.set(xlabel="key", ylabel="query")
        axes.set_title(name, loc="left", fontweight="bold")
    plots.curves(lengths, counts, x_label="length", y_label="temporary memory in bytes",
                 log="xy", title="Memory of a gradient", figure=right)  # fmt: skip
    right.axes[0].set_xticks(lengths, map(str, lengths))
    right.axes[0].set_xticks([], minor=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="short rows only")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()

    random = np.random.default_rng(0)
    # A key is like the query of its own place, and more like that six places later.
    q, v, delta = jnp.asarray(random.normal(size=(3, LENGTH, SIZE)), jnp.float32)
    k = 0.4 * q + 0.8 * jnp.roll(q, -6, 0)
    y, p = forward(q, k, v)
    *by_hand, ds = backward(q, k, v, y, p, delta)
    autodiff = gradient(lambda *x: forward(*x)[0], q, k, v, delta)
    rule = gradient(by_rule, q, k, v, delta)
    print(f"{'gradient in':12}{'size':>8}{'by hand - autodiff':>21}{'the rule - autodiff':>22}")
    for name, hand, right, other in zip("qkv", by_hand, autodiff, rule, strict=True):
        differences = (float(jnp.abs(a - right).max()) for a in (hand, other))
        size = float(jnp.abs(right).max())
        print(f"{name:12}{size:8.2f}" + "".join(f"{a:21.1e}" for a in differences))
    print(
        f"rows of the gradient of the scores sum to {float(jnp.abs(ds.sum(1)).max()):.0e} at most"
    )

    lengths = [256, 512] if options.short else [256, 512, 1024, 2048, 4096, 8192]
    ways = {"autodiff": lambda *x: forward(*x)[0], "jnn.rules.attention": by_rule}
    counts = {name: [temporaries(way, n) for n in lengths] for name, way in ways.items()}
    scores = counts["scores alone"] = [4 * n * n for n in lengths]
    print(f"{'length':>8}{'scores':>14}" + "".join(f"{name:>22}" for name in ways) + "   bytes")
    for i, n in enumerate(lengths):
        print(f"{n:8}{scores[i]:14,}" + "".join(f"{counts[name][i]:22,}" for name in ways))
    file = options.out / "attention_by_hand.png"
    draw(p, ds, lengths, counts, file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
