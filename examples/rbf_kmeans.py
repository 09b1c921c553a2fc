"""Radial basis functions with centres by k-means, on real digits (H-46..55).

    python examples/rbf_kmeans.py [--short] [--out FOLDER]

A unit answers to what is near its centre. Centres that k-means finds are digits themselves, as one
sees; fewer of them do than of digits drawn at random, and training centres and widths by the
hand-written backward of `radial` does better still.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.layers import RadialParams
from jnn.models import centred, plus_plus, rbf_network

KINDS = ("drawn", "k-means", "all trained")


def loss(output: Any, hidden: jax.Array, y: jax.Array) -> jax.Array:
    """The mean loss of the linear layer on the units' outputs, with a little decay."""
    scores = jnn.rules.affine(hidden, *output)
    return jnn.softmax_cross_entropy(scores, y).mean() + 1e-5 * jnn.l2(output.w)


def accuracy(net: jnn.Layer, params: Any, data: jnn.data.Samples) -> float:
    return float((net(params, data.x).argmax(-1) == data.y).mean())


def drawn(params: Any, key: jax.Array, x: jax.Array) -> Any:
    """Parameters with digits for centres, and one width for all, that of k-means on average."""
    centres = plus_plus(key, x, len(params[0].beta))
    return (
        RadialParams(centres, jnp.full_like(params[0].beta, params[0].beta.mean())),
        *params[1:],
    )


def measure(
    units: int, train: jnn.data.Samples, test: jnn.data.Samples, steps: int
) -> tuple[dict[str, float], jax.Array]:
    """The accuracy of each kind of centres on unseen digits, and the centres of k-means."""
    net = rbf_network(units, 10)
    x, y = jnp.asarray(train.x), jnp.asarray(train.y)
    params, _ = net.init(jax.random.key(0), x)
    params = centred(net, params, jax.random.key(1), x)
    found = {}
    for kind, start in (("drawn", drawn(params, jax.random.key(2), x)), ("k-means", params)):
        hidden = jnn.rules.radial(x, *start[0], kernel="squared")
        output = jnn.minimize(loss, start[1], jnn.lbfgs(), args=(hidden, y), max_steps=4 * steps)
        found[kind] = accuracy(net, (start[0], output.params), test)
        params = (start[0], output.params)
    fit = jnn.fit(net, jnn.softmax_cross_entropy, jnn.adam(3e-3), (x, y), params=params,
                  epochs=steps, progress=None)  # fmt: skip
    found["all trained"] = accuracy(net, fit.params, test)
    return found, params[0].centres


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="ten units, few steps")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    counts, steps = ((10,), 2) if options.short else ((10, 40, 160), 40)

    train, test = (
        jnn.data.Samples(part.x.reshape(len(part.x), -1), part.y) for part in jnn.data.digits()
    )
    rows, centres = {}, {}
    print(f"{'accuracy by units':18}" + "".join(f"{kind:>14}" for kind in KINDS))
    for units in counts:
        rows[units], centres[units] = measure(units, train, test, steps)
        print(f"{units:<18}" + "".join(f"{rows[units][kind]:14.3f}" for kind in KINDS))

    picture = plots.figure(11, 4.6)
    left, right = np.asarray(picture.subfigures(1, 2, width_ratios=(1.15, 1)))
    shown = counts[min(1, len(counts) - 1)]
    left.suptitle(f"The {shown} centres that k-means finds", fontweight="bold", fontsize=11)
    plots.images(np.asarray(centres[shown]).reshape(-1, 8, 8), columns=8, figure=left)
    plots.curves(
        counts, {kind: [rows[units][kind] for units in counts] for kind in KINDS}, log="x",
        x_label="radial units", y_label="accuracy on unseen digits", title="Accuracy",
        figure=right,
    )  # fmt: skip
    axes = right.axes[0]
    axes.set_xticks(counts, [str(units) for units in counts])
    axes.minorticks_off()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "rbf_kmeans.png"
    picture.savefig(file)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
