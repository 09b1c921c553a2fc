"""How to tile a convolution: Hedberg's count of memory accesses, and his Algorithm 4 (H §10.1.2).

A kernel that computes a tile of outputs reads the pixels under it once into fast memory, and every
access after that is to fast memory. The larger the tile, the smaller the part of its margin, which
neighbours read again; but a tile must fit into fast memory, and there must be enough of them.

The document, with its errata: the margin is R = F - 1 (it prints F + 1); the loops over tile sizes
start at 1; a hypothesis is kept if its accesses are fewer; the number of tiles divides by
S_lx S_ly; the size of fast memory is in bytes, and divided by that of an element; and the padding
that lets a size divide evenly is bounded.
"""

from typing import NamedTuple

import numpy as np

from jnn import errors

Pair = tuple[int, int]


class WorkSize(NamedTuple):
    """A tiling of a convolution's output.

    Attributes:
      tile: outputs of a tile along the two axes, (S_lx, S_ly).
      padding: zeros to append to the image along them, (P_x, P_y), so that tiles fit.
      accesses: slow memory accesses of the convolution.
    """

    tile: Pair
    padding: Pair
    accesses: int


def work_size(
    image: Pair,
    window: Pair,
    *,
    planes: int = 1,
    largest: int = 512,
    tiles: int = 1,
    group: int = 1024,
    memory: int = 2**15,
    item: int = 4,
    padding: int = 10,
) -> WorkSize:
    """The tile with the fewest accesses to slow memory: Algorithm 4, exact.

    Only divisors of the output's size are tried, all of them at once. Of several that are equal the
    first counts, by padding along x, along y, then by size along x, along y.

    Args:
      image: the size of the image, (S_x, S_y).
      window: the size of the filter, (F_x, F_y).
      planes: S_z, the images that each output sums over.
      largest: the longest side of a tile.
      tiles: U, how many tiles there must be at least: the processors to keep busy.
      group: the most outputs of a tile: those that one group of threads computes.
      memory: bytes of fast memory for a tile and its margin.
      item: bytes of an element.
      padding: the most zeros to append along an axis.

    >>> work_size((12, 11), (3, 3), largest=8, tiles=4, group=32, memory=64, item=1, padding=3)
    WorkSize(tile=(5, 5), padding=(0, 1), accesses=296)
    """
    x, y = (
        _sides("work_size", *each, padding, largest) for each in zip(image, window, strict=True)
    )
    (px, sx, gx, rx), (py, sy, gy, ry) = (c[:, None] for c in x), (c[None, :] for c in y)
    accesses = _tiled(planes, (gx, gy), (sx, sy), (rx, ry))
    allowed = (
        (gx * gy >= tiles * sx * sy)
        & (sx * sy <= group)
        & ((sx + rx) * (sy + ry) <= memory // item)
    )
    if not allowed.any():
        errors.fail(
            "work_size", "memory, group, tiles", "such that some tile fits",
            f"{memory} bytes, {group} outputs, {tiles} tiles for an image {image}, window {window}",
        )  # fmt: skip
    i, j = np.nonzero(allowed & (accesses == accesses[allowed].min()))
    found = min(zip(*(c.ravel().tolist() for c in (px[i, 0], py[0, j], sx[i, 0], sy[0, j])),
                    strict=True))  # fmt: skip
    return WorkSize(found[2:], found[:2], int(accesses[i[0], j[0]]))


def naive_accesses(image: Pair, window: Pair, *, planes: int = 1, padding: Pair = (0, 0)) -> int:
    """Accesses where each output reads all pixels under the filter: S_z G F_x F_y (H §10.1.2).

    G = (S_x + P_x - R_x)(S_y + P_y - R_y) is the number of outputs.

    >>> naive_accesses((12, 11), (3, 3), padding=(0, 1))
    900
    """
    gx, gy = _outputs("naive_accesses", image, window, padding)
    return planes * gx * gy * window[0] * window[1]


def tiled_accesses(
    image: Pair, window: Pair, tile: Pair, *, planes: int = 1, padding: Pair = (0, 0)
) -> int:
    """Accesses where tiles are read with their margins, and kept (H §10.1.2).

    S_z G + G / (S_lx S_ly) (R_x S_ly + R_y S_lx + R_x R_y + S_lx S_ly). The second term is as
    printed; where a kernel loads all S_z planes of a tile, it looks short of that factor.

    >>> tiled_accesses((12, 11), (3, 3), (5, 5), padding=(0, 1))
    296
    """
    outputs = _outputs("tiled_accesses", image, window, padding)
    if outputs[0] % tile[0] or outputs[1] % tile[1]:
        errors.fail("tiled_accesses", "tile", f"such that it divides the outputs {outputs}", tile)
    return int(_tiled(planes, outputs, tile, (window[0] - 1, window[1] - 1)))


def _tiled(planes: int, outputs: tuple, tile: tuple, margin: tuple):
    (gx, gy), (sx, sy), (rx, ry) = outputs, tile, margin
    return planes * gx * gy + gx * gy // (sx * sy) * (rx * sy + ry * sx + rx * ry + sx * sy)


def _outputs(function: str, image: Pair, window: Pair, padding: Pair) -> Pair:
    outputs = tuple(s + p - f + 1 for s, p, f in zip(image, padding, window, strict=True))
    if min(*window, *outputs) < 1:
        errors.fail(function, "window", f"within the image {image}", window)
    return outputs[0], outputs[1]


def _sides(function: str, size: int, window: int, padding: int, largest: int) -> list[np.ndarray]:
    """All pairs of padding and tile size along an axis: P, S_l, the outputs G, the margin R."""
    for argument, value in (("image", size), ("window", window), ("largest", largest)):
        errors.positive_integer(function, argument, value)
    if size < window:
        errors.fail(function, "window", f"within an image of size {size}", window)
    p, s = np.meshgrid(np.arange(padding + 1), np.arange(1, largest + 1), indexing="ij")
    g = size + p - (window - 1)
    fits = g % s == 0
    return [p[fits], s[fits], g[fits], np.full(fits.sum(), window - 1)]
