"""Where hand-written rules take more than what one would write else, and why that stays so.

A row is one that has more than `SLACK` times the least of all other sides. What is not listed here,
or takes more than is said here, fails `python -m benchmarks.devices --check`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from benchmarks.devices.case import OURS, Found
from jnn.verify.compare.weigh import Weight

SLACK = 1.02
# Bytes, or a hundredth of the peak. Less is counted as that much: it decides nothing.
LEAST = 2**20

# What of a TPU's temporaries lies in fast memory does not count, so that they tell nothing beside
# the peak.
LEFT_OUT = {("v5e", "temporaries")}


class Known(NamedTuple):
    """An exception.

    Attributes:
      device: on which.
      dtype: of the arrays.
      case: its name in the table.
      measure: "temporaries", "peak" or "traffic".
      ratio: by which ours is the larger, at most.
      reason: why.
    """

    device: str
    dtype: str
    case: str
    measure: str
    ratio: float
    reason: str


SORTED = "sums in sorted order have the same bits on every run; a scatter adds in any order"
CHUNKS = "logits are never whole: each chunk of rows reads all weights and adds to their gradient"
RECOMPUTED = "scores are computed again once delta is there, so that no layer keeps them"
WIDE_SCORES = "scores and their cotangents are there in float32, and for a product once more"
AFTER_THE_LOOP = "cotangents of all steps lie in memory for one product after the loop"
WIDE_DISTANCES = "distances are computed in float32, which plain JAX does not do"
APART = "differences are taken anew from a copy of samples and centres, so that none are kept"
WIDE_SUM = "the sum of two products is in float32 until it is whole"
PLACED = "by XLA's plan an array more finds no room in fast memory"
SMALL = "all of it fits into fast memory, so that nothing is saved there: a few MiB"

KNOWN: tuple[Known, ...] = (
    Known("h200", "bfloat16", "radial", "temporaries", 1.55, WIDE_DISTANCES),
    Known("h200", "bfloat16", "radial", "peak", 1.36, WIDE_DISTANCES),
    Known("h200", "bfloat16", "radial", "traffic", 1.33, WIDE_DISTANCES),
    Known("h200", "float32", "attention, 2048 tokens", "traffic", 1.18, RECOMPUTED),
    Known("h200", "float32", "attention, 4 layers", "traffic", 1.17, RECOMPUTED),
    Known("h200", "float32", "attention, a window", "traffic", 1.03, RECOMPUTED),
    Known("h200", "float32", "gru", "temporaries", 1.18, AFTER_THE_LOOP),
    Known("h200", "float32", "gru", "peak", 1.13, AFTER_THE_LOOP),
    Known("h200", "float32", "embedding", "temporaries", 9.18, SORTED),
    Known("h200", "float32", "embedding", "peak", 1.1, SORTED),
    Known("h200", "float32", "embedding", "traffic", 1.73, SORTED),
    Known("h200", "float32", "linear_cross_entropy", "traffic", 1.57, CHUNKS),
    Known("h200", "bfloat16", "attention, 2048 tokens", "traffic", 1.22, RECOMPUTED),
    Known("h200", "bfloat16", "attention, 4 layers", "traffic", 1.22, RECOMPUTED),
    Known("h200", "bfloat16", "attention, a window", "temporaries", 1.16, WIDE_SCORES),
    Known("h200", "bfloat16", "attention, a window", "peak", 1.16, WIDE_SCORES),
    Known("h200", "bfloat16", "gated_mlp", "traffic", 1.03, WIDE_SUM),
    Known("h200", "bfloat16", "embedding", "temporaries", 16.81, SORTED),
    Known("h200", "bfloat16", "embedding", "peak", 1.2, SORTED),
    Known("h200", "bfloat16", "embedding", "traffic", 2.68, SORTED),
    Known("h200", "bfloat16", "linear_cross_entropy", "traffic", 1.58, CHUNKS),
    Known("v5e", "float32", "conv 7x7 /2", "traffic", 1.05, PLACED),
    Known("v5e", "float32", "radial", "peak", 1.03, APART),
    Known("v5e", "float32", "radial", "traffic", 1.03, APART),
    Known("v5e", "bfloat16", "radial", "peak", 1.45, WIDE_DISTANCES),
    Known("v5e", "bfloat16", "radial", "traffic", 1.03, APART),
    Known("v5e", "float32", "gru", "traffic", 1.32, PLACED),
    Known("v5e", "float32", "embedding", "peak", 1.17, SORTED),
    Known("v5e", "float32", "embedding", "traffic", 2.29, SORTED),
    Known("v5e", "float32", "linear_cross_entropy", "traffic", 1.47, CHUNKS),
    Known("v5e", "bfloat16", "gated_mlp", "traffic", 1.09, WIDE_SUM),
    Known("v5e", "bfloat16", "embedding", "peak", 1.07, SORTED),
    Known("v5e", "bfloat16", "embedding", "traffic", 1.57, SORTED),
    Known("v5e", "bfloat16", "linear_cross_entropy", "traffic", 1.89, CHUNKS),
    Known("v5e", "float32", "lenet, 256", "traffic", 1.06, SMALL),
    Known("v5e", "float32", "vgg6, 64", "traffic", 1.14, SMALL),
    Known("v5e", "float32", "resnet, 128", "peak", 1.13, SMALL),
    Known("v5e", "float32", "resnet, 128", "traffic", 1.08, SMALL),
    Known("v5e", "bfloat16", "lenet, 256", "traffic", 1.05, SMALL),
    Known("v5e", "bfloat16", "vgg6, 64", "traffic", 1.14, SMALL),
    Known("v5e", "bfloat16", "resnet, 128", "peak", 1.09, SMALL),
    Known("v5e", "bfloat16", "resnet, 128", "traffic", 1.08, SMALL),
)


def unknown(device: str, dtype: str, results: Mapping[str, Found]) -> list[str]:
    """A sentence for each row that takes more than another side, and is not known to."""
    known = {(k.case, k.measure): k.ratio for k in KNOWN if (k.device, k.dtype) == (device, dtype)}
    return [
        f"{case} on {device}, {dtype}: {ratio:.2f} times the {measure} of {rival}"
        for case, sides in results.items()
        for measure, rival, ratio in lost(sides)
        if (device, measure) not in LEFT_OUT and ratio > SLACK * known.get((case, measure), 1.0)
    ]


def lost(sides: Found) -> Iterator[tuple[str, str, float]]:
    """Each measure in which ours takes more than the least of the others; that side, the ratio."""
    weights = {name: w for name, w in sides.items() if isinstance(w, Weight)}
    ours = weights.pop(OURS, None)
    if ours is None:  # It does not compile: fine if nothing else does either.
        yield from (("compiled programs", name, float("inf")) for name in list(weights)[:1])
        return
    least = max(LEAST, ours.memory.get("peak", 0) // 100)
    for measure, own in sizes(ours).items():
        others = {name: sizes(w)[measure] for name, w in weights.items()}
        if others:
            rival = min(others, key=others.__getitem__)
            ratio = max(own, least) / max(others[rival], least)
            if ratio > SLACK:
                yield measure, rival, ratio
    if ours.scatters:
        yield "scatters", "a backward that has none", float("inf")


def sizes(weight: Weight) -> dict[str, int]:
    """What is compared."""
    memory = weight.memory
    return {
        "temporaries": memory["temporaries"],
        "peak": memory.get("peak", 0),
        "traffic": weight.census.traffic,
    }
