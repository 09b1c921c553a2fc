"""Classical image filters as convolutions: blur, sharpen, edges, emboss, on a photograph (T §5).

    python examples/image_filters.py [--short] [--out FOLDER]

Each filter is a layer without parameters, `jnn.layers.image_filter`, laid on the three colours of a
picture that comes with scikit-learn. Gradients flow through it as through any layer: at the end a
blurred picture is sharpened again by minimising the difference of blurs, which is deconvolution.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jnn
from jnn import plots
from jnn.layers import IMAGE_FILTERS, image_filter


def photograph(size: int) -> np.ndarray:
    """A square with the corner of a pavilion's roof, (1, size, size, 3) in [0, 1]."""
    from sklearn.datasets import load_sample_image

    whole = load_sample_image("china.jpg")
    return whole[None, 60 : 60 + size, 110 : 110 + size].astype(np.float32) / 255


def shown(x: jax.Array, name: str) -> np.ndarray:
    """A filtered picture in [0, 1]: what has no brightness of its own lies about middle grey."""
    bright = abs(IMAGE_FILTERS[name].sum()) > 0.5
    return np.clip(np.asarray(x[0]) if bright else 0.5 + np.asarray(x[0]) / 2, 0, 1)


def restore(blurred: jax.Array, blur: jnn.Layer, steps: int) -> tuple[jax.Array, jnn.solve.Result]:
    """The picture whose blur is nearest to this one, by L-BFGS from the blurred one itself."""

    def difference(x: jax.Array) -> jax.Array:
        return 0.5 * jnp.square(blur((), x) - blurred).sum()

    result = jnn.minimize(difference, blurred, jnn.lbfgs(), max_steps=steps)
    return result.params, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a small piece, few steps")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the picture goes")
    options = parser.parse_args()
    size, steps = (48, 3) if options.short else (240, 60)

    x = jnp.asarray(photograph(size))
    filtered = {name: image_filter(name)((), x) for name in IMAGE_FILTERS}
    print(f"{'filter':16}{'size':>6}{'sum':>6}{'mean':>8}{'deviation':>11}")
    for name, y in filtered.items():
        kernel = IMAGE_FILTERS[name]
        print(f"{name:16}{len(kernel):6}{kernel.sum():6.0f}{y.mean():8.3f}{y.std():11.3f}")
    titles = [name.replace("_", " ") for name in filtered]
    pictures = [shown(y, name) for name, y in filtered.items()]

    blur = image_filter("gaussian_blur")
    blurred = filtered["gaussian_blur"]
    sharp, result = restore(blurred, blur, steps)
    for name, y in (("blurred", blurred), ("restored", sharp)):
        print(f"{name:9} differs from the photograph by {jnp.abs(y - x).mean():.4f} a pixel")
    print(f"{result.steps} steps, {result.evaluations} evaluations")
    titles += ["gaussian blur, undone"]
    pictures += [np.clip(sharp[0], 0, 1)]

    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "image_filters.png"
    picture = plots.figure(9.6, 7.6)
    plots.images(np.stack(pictures), file, titles=titles, columns=4, figure=picture)
    print(f"picture: {file}")


if __name__ == "__main__":
    main()
