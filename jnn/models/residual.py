"""Residual networks: Treister's steps, and the published blocks up to ResNet-50 and beyond."""

import itertools
from collections.abc import Iterator, Sequence

from jnn import errors
from jnn.layers.combinators.rows import parallel, serial
from jnn.layers.combinators.skip import skip
from jnn.layers.convolution import conv
from jnn.layers.core.initialisers import Initialiser, glorot_uniform
from jnn.layers.core.layer import Layer
from jnn.layers.linear import dense
from jnn.layers.pointwise import identity, lift
from jnn.layers.pooling import global_mean_pool, max_pool
from jnn.models.norms import Norm, norm_layers
from jnn.rules.core.rule import Rule
from jnn.rules.pointwise.activation import activation as chosen

Activation = str | Rule

BLOCKS = ("step", "basic", "bottleneck")
WIDER = 4  # What a bottleneck returns is so many times as wide as what it computes.


def resnet(
    classes: int = 10,
    *,
    widths: Sequence[int] = (16, 32, 64),
    steps: int | Sequence[int] = 2,
    block: str | None = None,
    order: str = "after",
    norm: Norm = None,
    stem: int = 3,
    activation: Activation = "relu",
    weights: Initialiser = glorot_uniform,
) -> Layer:
    """A residual network: a convolution, stages of blocks that add to what comes in, a dense layer.

    From stage to stage maps get more, by `widths`, and images half as large. At the end stand the
    mean of each map and a dense layer. The blocks are

    - "step": Treister's `x + K2 s(K1 x + b)` (T-22), with convolutions for his matrices, and one of
      `K2 x + s(K1 x + b)` (T-23) more where the width grows;
    - "basic": two 3 x 3 convolutions, each normalised;
    - "bottleneck": one of 1 x 1, one of 3 x 3, one of 1 x 1 to four times the width. The 3 x 3 one
      takes the stride.

    With `order="after"` norm and activation stand behind a convolution, and another activation
    behind the sum (He et al. 2015); with "before" they stand before it, and none behind the sum
    ("pre-activation", He et al. 2016). In training a norm, relu and the convolution behind them are
    one rule, which stores nothing in between. ResNet-18 and ResNet-50 are

        jnn.models.resnet(1000, widths=(64, 128, 256, 512), norm="batch", stem=7)
        jnn.models.resnet(1000, widths=(64, 128, 256, 512), steps=(3, 4, 6, 3), norm="batch",
                          stem=7, block="bottleneck")

    Batch norm has a state: `net(params, x, state)`, and `fit` carries it.

    Args:
      classes: the number of outputs.
      widths: maps, from stage to stage.
      steps: blocks a stage, one number or one for each.
      block: "step", "basic" or "bottleneck"; None for "step" without a norm, "basic" with one.
      order: "after" or "before"; of a "step", "after".
      norm: None, "batch", "group" (32 groups, or of few maps half as many groups as maps), or a
        layer, e.g. `jnn.group_norm(8)`. Convolutions with a norm have no biases.
      stem: 3, a convolution of 3 x 3 pixels, for images of about 32 x 32; or 7, one of 7 x 7 with a
        stride of 2 and the maxima of 3 x 3 pixels with another, for 224 x 224.
      activation: the name of an elementwise rule, or the rule.
      weights: initialiser of all filters and weights.

    >>> net = jnn.models.resnet(widths=(8, 16), steps=1)
    >>> x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    >>> params, _ = jax.eval_shape(net.init, jax.random.key(0), x)
    >>> jax.eval_shape(net, params, x).shape
    (2, 10)
    >>> net = jnn.models.resnet(widths=(8, 16), steps=1, norm="batch")
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), x)
    >>> jax.eval_shape(net, params, x, state).shape, state[1].mean.shape
    ((2, 10), (8,))
    """
    errors.positive_integer("resnet", "classes", classes)
    block = block or ("step" if norm is None else "basic")
    errors.choice("resnet", "block", block, BLOCKS)
    errors.choice("resnet", "order", order, ("after", "before"))
    errors.choice("resnet", "stem", stem, (3, 7))
    counts = _counts(widths, steps)
    if block == "step" and (norm is not None or order == "before"):
        got = f"norm={norm!r}, order={order!r}"
        errors.fail("resnet", "block", "'basic' or 'bottleneck' with a norm or order='before'", got)
    if block == "step":
        layers = _treister(widths, counts, stem, activation, weights)
    else:
        layers = _Blocks(block, order, norm, activation, weights).network(widths, counts, stem)
    return serial(*layers, global_mean_pool(), dense(classes, weights=weights))


def torchvision_names(net: Layer) -> dict[str, str]:
    """How torchvision calls the layers of a residual network, by our paths.

    Of networks by `resnet(..., norm="batch")` in the order "after". For a file of weights,

        net = jnn.models.resnet(1000, widths=(64, 128, 256, 512), norm="batch", stem=7)
        params, state = net.init(key, x)
        params, state = jnn.train.load_torch("resnet18.safetensors", params, state,
                                             names=jnn.models.torchvision_names(net))

    >>> names = jnn.models.torchvision_names(jnn.models.resnet(norm="batch"))
    >>> names["0"], names["3/0/0"], names["5/0/4"]
    ('conv1', 'layer1.0.conv1', 'layer1.1.bn2')
    """
    found, stage, block = {}, 0, 0
    for i, inner in enumerate(net.spec.layers):
        name = inner.spec.name
        if name == "skip":
            project = inner.spec["project"]
            begins = project is not None or not stage
            stage, block = (stage + 1, 0) if begins else (stage, block + 1)
            root = f"layer{stage}.{block}"
            found |= _numbered(f"{i}/0/", f"{root}.", inner.spec["inner"])
            if project is not None:
                found |= {f"{i}/1/{k}": f"{root}.downsample.{k}" for k in (0, 1)}
        elif name in ("conv", "batch_norm", "dense"):
            found[str(i)] = {"conv": "conv1", "batch_norm": "bn1", "dense": "fc"}[name]
    expected = ["conv", "batch_norm", "relu"]
    if not stage or [inner.spec.name for inner in net.spec.layers[:3]] != expected:
        wanted = "a network by jnn.models.resnet(..., norm='batch')"
        errors.fail("torchvision_names", "net", wanted, repr(net)[:80])
    return found


def _numbered(ours: str, theirs: str, inner: Layer) -> dict[str, str]:
    """Convolutions and norms of a row: conv1, bn1, conv2, bn2, ..."""
    found = {}
    for name, called in (("conv", "conv"), ("batch_norm", "bn")):
        places = [i for i, one in enumerate(inner.spec.layers) if one.spec.name == name]
        found |= {f"{ours}{i}": f"{theirs}{called}{k}" for k, i in enumerate(places, 1)}
    return found


def _counts(widths: Sequence[int], steps: int | Sequence[int]) -> list[int]:
    if not widths:
        errors.fail("resnet", "widths", "the maps of one stage at least", repr(widths))
    for maps in widths:
        errors.positive_integer("resnet", "widths", maps)
    counts = list(steps) if isinstance(steps, Sequence) else [steps] * len(widths)
    for count in counts:
        errors.positive_integer("resnet", "steps", count)
    if len(counts) != len(widths):
        expected = f"one number, or one for each of {len(widths)} widths"
        errors.fail("resnet", "steps", expected, repr(steps))
    return counts


def _pooled(stem: int) -> list[Layer]:
    """The maxima behind a large first convolution."""
    return [max_pool(3, stride=2, padding=1)] if stem == 7 else []


class _Blocks:
    """The published blocks, of one norm, activation and order."""

    def __init__(
        self, block: str, order: str, norm: Norm, activation: Activation, weights: Initialiser
    ):
        self.block, self.order, self.norm, self.weights = block, order, norm, weights
        self.activation = lift(chosen("resnet", activation))()

    def network(self, widths: Sequence[int], counts: list[int], stem: int) -> Iterator[Layer]:
        """All layers before the last mean."""
        after = self.order == "after"
        read = widths[0]
        yield self.conv(read, stem, 1 + (stem == 7))
        yield from self.activated(read) if after else ()
        yield from _pooled(stem)
        for i, (maps, count) in enumerate(zip(widths, counts, strict=True)):
            for j in range(count):
                stride = 2 if i and not j else 1
                yield from (self.behind if after else self.in_front)(read, maps, stride)
                read = self.made(maps)
        yield from () if after else self.activated(read)

    def behind(self, read: int, maps: int, stride: int) -> Iterator[Layer]:
        """A block from `read` maps: convolutions with norms behind them, the sum activated."""
        layers = []
        for n, size, step in self.convolutions(maps, stride):
            layers += [self.conv(n, size, step), *self.activated(n)]
        made = self.made(maps)
        project = None
        if (read, stride) != (made, 1):
            project = serial(self.conv(made, 1, stride), *norm_layers("resnet", self.norm, made))
        yield skip(serial(*layers[:-1]), project=project)
        yield self.activation

    def in_front(self, read: int, maps: int, stride: int) -> Iterator[Layer]:
        """A block from `read` maps: norms before convolutions; a projection shares the first."""
        layers, n = [], read
        for made, size, step in self.convolutions(maps, stride):
            layers += [*self.activated(n), self.conv(made, size, step)]
            n = made
        if (read, stride) == (n, 1):
            yield skip(serial(*layers))
            return
        shared = len(self.activated(read))
        yield from layers[:shared]
        yield skip(serial(*layers[shared:]), project=self.conv(n, 1, stride))

    def convolutions(self, maps: int, stride: int) -> list[tuple[int, int, int]]:
        """Maps, size and stride of each."""
        if self.block == "basic":
            return [(maps, 3, stride), (maps, 3, 1)]
        return [(maps, 1, 1), (maps, 3, stride), (self.made(maps), 1, 1)]

    def made(self, maps: int) -> int:
        """How many maps a block of that width returns."""
        return maps * (WIDER if self.block == "bottleneck" else 1)

    def activated(self, maps: int) -> list[Layer]:
        """The norm of so many maps, and the activation."""
        return [*norm_layers("resnet", self.norm, maps), self.activation]

    def conv(self, maps: int, size: int, stride: int) -> Layer:
        """A convolution that keeps the size, or halves it by its stride."""
        return conv(maps, size, stride=stride, padding=size // 2, rest="drop",
                    bias=self.norm is None, weights=self.weights)  # fmt: skip


def _treister(
    widths: Sequence[int], counts: list[int], stem: int, activation: Activation,
    weights: Initialiser,
) -> Iterator[Layer]:  # fmt: skip
    first: dict = {"padding": "same"} if stem == 3 else {"stride": 2, "padding": 3, "rest": "drop"}
    yield conv(widths[0], stem, activation=activation, weights=weights, **first)
    yield from _pooled(stem)
    for i, (maps, count) in enumerate(zip(widths, counts, strict=True)):
        if i:
            yield _projection(maps, activation, weights)
        yield from itertools.repeat(_step(maps, activation, weights), count)


def _step(maps: int, activation: Activation, weights: Initialiser) -> Layer:
    """T-22: x + K2 s(K1 x + b)."""
    inner = serial(
        conv(maps, 3, padding="same", activation=activation, weights=weights),
        conv(maps, 3, padding="same", bias=False, weights=weights),
    )
    return parallel(identity(), inner, combine="sum")


def _projection(maps: int, activation: Activation, weights: Initialiser) -> Layer:
    """T-23: K2 x + s(K1 x + b), where the number of maps changes."""
    inner = conv(maps, 3, stride=2, padding="same", activation=activation, weights=weights)
    beside = conv(maps, 1, stride=2, padding="same", bias=False, weights=weights)
    return parallel(beside, inner, combine="sum")
