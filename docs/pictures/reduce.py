"""Makes the pictures of the pages from those that the examples draw: of 128 colours, none large.

They are in the folder that is named: `python docs/pictures/reduce.py demo`.
"""

import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH = 1000  # Pixels, of the widest.
LIMIT = 140_000  # Bytes.
PICTURES = (
    "attention_by_hand", "batch_norm", "deep_images", "derivative_tests", "digits_by_rows",
    "feature_maps", "image_filters", "language_model", "lenet_mnist", "logistic_regression",
    "optimizers_2d", "over_fitting", "rbf_kmeans", "regularisation", "saliency", "small_network",
    "toeplitz", "universal_approximation", "vanishing_deltas",
)  # fmt: skip


def reduce(file: Path) -> Path:
    """The picture in this folder."""
    made, width = HERE / file.name, WIDTH
    with Image.open(file) as whole:
        picture = whole.convert("RGB")
    while True:
        size = width, round(picture.height * width / picture.width)
        small = picture.resize(size, Image.Resampling.LANCZOS)
        small.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            made, optimize=True
        )
        if made.stat().st_size < LIMIT:
            return made
        width = width * 9 // 10


if __name__ == "__main__":
    for name in PICTURES:
        made = reduce(Path(sys.argv[1]) / f"{name}.png")
        print(f"{made.name:32}{made.stat().st_size / 1000:6.0f} kB")
