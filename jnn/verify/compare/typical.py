"""Arguments of the size that a rule meets in a network, to weigh and to race it with."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jnn import errors
from jnn.rules.core.rule import Example, Rule


class Sizes:
    """How large: samples in a batch, features of a hidden layer, classes or outputs."""

    def __init__(self, batch: int = 256, features: int = 512, classes: int = 10):
        for name, value in (("batch", batch), ("features", features), ("classes", classes)):
            errors.positive_integer("typical", name, value)
        self.batch, self.features, self.classes = batch, features, classes


Maker = Callable[[np.random.Generator, Sizes], Example]


def typical(rule: Rule, *, batch: int = 256, features: int = 512, classes: int = 10) -> Example:
    """An example of `rule` as large as in a network; equal calls draw equal numbers.

    A rule of the library knows its shapes and an elementwise rule takes (batch, features); of any
    other it is the first example that the rule makes, of whatever size.

    >>> [x.shape for x in typical(jnn.rules.affine, batch=32, features=64).args]
    [(32, 784), (784, 64), (64,)]
    """
    random, sizes = np.random.default_rng(0), Sizes(batch, features, classes)
    if rule.elementwise:
        return Example(random.normal(size=(batch, features)))
    if rule.name in _MAKERS:
        return _MAKERS[rule.name](random, sizes)
    if not rule.examples:
        errors.fail(
            "typical", "rule", "one with an example", repr(rule),
            f"Add one under @{rule.name}.example, or pass the arguments.",
        )  # fmt: skip
    return rule.examples[0](random)


def _affine(random: np.random.Generator, sizes: Sizes) -> Example:
    x = random.normal(size=(sizes.batch, 784))
    w = random.normal(size=(784, sizes.features)) / 28
    return Example(x, w, random.normal(size=sizes.features))


def _dropout(random: np.random.Generator, sizes: Sizes) -> Example:
    x = random.normal(size=(sizes.batch, sizes.features))
    return Example(x, jax.random.key(0), rate=0.5)


def _embedding(random: np.random.Generator, sizes: Sizes) -> Example:
    ids = random.integers(0, 1000, (sizes.batch, 16))
    return Example(ids, random.normal(size=(1000, sizes.features)))


def _residual(random: np.random.Generator, sizes: Sizes) -> Example:
    n = sizes.features
    w1, w2 = random.normal(size=(2, n, n)) / n**0.5
    return Example(random.normal(size=(sizes.batch, n)), w1, random.normal(size=n), w2)


def _gate(random: np.random.Generator, sizes: Sizes) -> Example:
    return Example(*random.normal(size=(2, sizes.batch, sizes.features)))


def _gated_mlp(random: np.random.Generator, sizes: Sizes) -> Example:
    n, hidden = sizes.features, 8 * sizes.features // 3
    w_gate, w_up = random.normal(size=(2, n, hidden)) / n**0.5
    w_down = random.normal(size=(hidden, n)) / hidden**0.5
    return Example(random.normal(size=(sizes.batch, n)), w_gate, w_up, w_down)


def _frames(random: np.random.Generator, sizes: Sizes) -> Example:
    batch, time = max(1, sizes.batch // 16), 64
    labels = random.integers(1, max(2, sizes.classes), (batch, 16))
    return Example(random.normal(size=(batch, time, max(2, sizes.classes))), labels)


def _logits(random: np.random.Generator, sizes: Sizes) -> Example:
    return Example(2 * random.normal(size=(sizes.batch, sizes.classes)))


def _logits_and_labels(random: np.random.Generator, sizes: Sizes) -> Example:
    labels = random.integers(0, sizes.classes, sizes.batch)
    return Example(*_logits(random, sizes).args, labels)


def _features_and_labels(random: np.random.Generator, sizes: Sizes) -> Example:
    w = random.normal(size=(sizes.features, sizes.classes)) / sizes.features**0.5
    labels = random.integers(0, sizes.classes, sizes.batch)
    return Example(random.normal(size=(sizes.batch, sizes.features)), w, labels)


def _probabilities_and_labels(random: np.random.Generator, sizes: Sizes) -> Example:
    x, labels = _logits_and_labels(random, sizes).args
    p = np.exp(x)
    return Example(p / p.sum(-1, keepdims=True), labels)


def _answers(random: np.random.Generator, sizes: Sizes) -> Example:
    (x,) = _logits(random, sizes).args
    return Example(x, random.integers(0, 2, x.shape))


def _probabilities_and_answers(random: np.random.Generator, sizes: Sizes) -> Example:
    x, answers = _answers(random, sizes).args
    return Example(1 / (1 + np.exp(-x)), answers)


def _predictions(random: np.random.Generator, sizes: Sizes) -> Example:
    return Example(*random.normal(size=(2, sizes.batch, sizes.classes)))


def _log_shares_and_shares(random: np.random.Generator, sizes: Sizes) -> Example:
    y, t = (np.exp(x) for x in _predictions(random, sizes).args)
    return Example(np.log(y / y.sum(-1, keepdims=True)), t / t.sum(-1, keepdims=True))


def _predictions_and_variances(random: np.random.Generator, sizes: Sizes) -> Example:
    y, t = _predictions(random, sizes).args
    return Example(y, t, random.uniform(0.5, 2, y.shape))


def _three(random: np.random.Generator, sizes: Sizes) -> Example:
    return Example(*random.normal(size=(3, sizes.batch, sizes.features)))


def _parameters(random: np.random.Generator, sizes: Sizes) -> Example:
    _, w, b = _affine(random, sizes).args
    return Example({"w": w, "b": b})


def _images(sizes: Sizes) -> tuple[int, ...]:
    return sizes.batch, 16, 16, MAPS


def _image(**settings: Any) -> Maker:
    return lambda random, sizes: Example(random.normal(size=_images(sizes)), **settings)


def _convolution(window: int, **settings: Any) -> Maker:
    def make(random: np.random.Generator, sizes: Sizes) -> Example:
        w = random.normal(size=(window, window, MAPS, MAPS)) / (window * MAPS**0.5)
        return Example(random.normal(size=_images(sizes)), w, random.normal(size=MAPS), **settings)

    return make


def _weighted(random: np.random.Generator, sizes: Sizes) -> Example:
    alpha, b = random.normal(size=(MAPS, MAPS)) / MAPS**0.5, random.normal(size=MAPS)
    return Example(random.normal(size=_images(sizes)), alpha, b, factor=2)


def _of_channels(rows: bool, parameters: int, **settings: Any) -> Maker:
    def make(random: np.random.Generator, sizes: Sizes) -> Example:
        shape = (sizes.batch, sizes.features) if rows else _images(sizes)
        return Example(
            random.normal(size=shape), *random.normal(size=(parameters, shape[-1])), **settings
        )

    return make


def _norm_relu_conv(random: np.random.Generator, sizes: Sizes) -> Example:
    x, w, b = _convolution(3)(random, sizes).args
    scale, shift = random.normal(size=(2, MAPS))
    return Example(x, scale, shift, w, b, padding="same")


def _conv_norm(random: np.random.Generator, sizes: Sizes) -> Example:
    x, w, b = _convolution(3)(random, sizes).args
    return Example(x[..., :3], w[:, :, :3], b, *random.normal(size=(2, MAPS)), padding="same")


def _radial(random: np.random.Generator, sizes: Sizes) -> Example:
    x, centres = random.normal(size=(sizes.batch, 64)), random.normal(size=(100, 64))
    return Example(x, centres, np.full(100, 0.1))


def _sequences(gates: int, biases: int) -> Maker:
    def make(random: np.random.Generator, sizes: Sizes) -> Example:
        n = max(1, sizes.features // 4)
        x = random.normal(size=(max(1, sizes.batch // 4), 64, n))
        w, r = random.normal(size=(2, n, gates * n)) / n**0.5
        return Example(x, w, r, *np.zeros((biases, gates * n)))

    return make


def _prelu(random: np.random.Generator, sizes: Sizes) -> Example:
    x = random.normal(size=(sizes.batch, sizes.features))
    return Example(x, np.full(sizes.features, 0.25))


def _attention(random: np.random.Generator, sizes: Sizes) -> Example:
    shape = max(1, sizes.batch // 64), 512, HEADS, max(2, sizes.features // HEADS)
    return Example(*random.normal(size=(3, *shape)), causal=True)


def _rotary(random: np.random.Generator, sizes: Sizes) -> Example:
    x = _attention(random, sizes).args[0]
    return Example(x, np.arange(x.shape[1]))


HEADS = 8  # Of attention.
MAPS = 16  # Of the images.

_MAKERS: dict[str, Maker] = {
    "attention": _attention,
    "rotary": _rotary,
    "affine": _affine,
    "gated": _gate,
    "gated_mlp": _gated_mlp,
    "dropout": _dropout,
    "embedding": _embedding,
    "residual": _residual,
    "residual_projection": _residual,
    "softmax": _logits,
    "log_softmax": _logits,
    "logsumexp": _logits,
    "softmax_cross_entropy": _logits_and_labels,
    "ctc": _frames,
    "linear_cross_entropy": _features_and_labels,
    "cross_entropy": _probabilities_and_labels,
    "binary_cross_entropy": _probabilities_and_answers,
    "sigmoid_cross_entropy": _answers,
    "absolute_error": _predictions,
    "half_squared_error": _predictions,
    "huber": _predictions,
    "squared_error": _predictions,
    "smooth_l1": _predictions,
    "kl_divergence": _log_shares_and_shares,
    "poisson": _predictions,
    "gaussian_nll": _predictions_and_variances,
    "triplet": _three,
    "hinge": _predictions,
    "squared_hinge": _predictions,
    "cosine": _predictions,
    "l2": _parameters,
    "conv": _convolution(3, padding="same"),
    "conv_transpose": _convolution(2, stride=2),
    "rectified_conv": _convolution(3, padding="same", pool=2),
    "max_pool": _image(window=2),
    "mean_pool": _image(window=2),
    "adaptive_max_pool": _image(size=7),
    "adaptive_mean_pool": _image(size=7),
    "subsample": _image(factor=2),
    "weighted_subsample": _weighted,
    "radial": _radial,
    "batch_norm": _of_channels(rows=False, parameters=2),
    "group_norm": _of_channels(rows=False, parameters=2, groups=4),
    "layer_norm": _of_channels(rows=True, parameters=2),
    "rms_norm": _of_channels(rows=True, parameters=1),
    "norm_relu_conv": _norm_relu_conv,
    "conv_norm": _conv_norm,
    "lstm": _sequences(4, 1),
    "gru": _sequences(3, 2),
    "prelu": _prelu,
    "resize": _image(size=32, method="linear"),
    "pixel_shuffle": _image(factor=2),
    "pixel_unshuffle": _image(factor=2),
    "local_response_norm": _image(),
}
