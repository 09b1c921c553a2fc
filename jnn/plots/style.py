"""Colours, dashes and markers that all pictures share.

The colours are Okabe and Ito's, which colour-blind people tell apart; markers, dashes and hatches
tell the same in grey.
"""

from typing import Any

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
INK, FAINT = "#333333", "#D9D9D9"
# Of a line: its colour, its dashes, its marker.
STYLES = (
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (GREEN, "-.", "^"),
    (PURPLE, ":", "D"),
    (ORANGE, (0, (5, 1, 1, 1, 1, 1)), "v"),
    (SKY, (0, (1, 1)), "P"),
    (BLACK, (0, (8, 3)), "X"),
)
# Of an image: sizes, the larger the darker; and signed numbers, from blue over grey, which is zero,
# to a bright yellow. Lightness alone tells either.
SIZES, SIGNED = "Blues", "cividis"


def cycle(count: int) -> list[Any]:
    """That many styles, from the first on."""
    return [STYLES[i % len(STYLES)] for i in range(count)]
