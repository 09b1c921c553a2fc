"""Transformers: blocks of attention and a network at each place, in rows of any length."""

from jnn import errors
from jnn.layers.attention.attention import attention
from jnn.layers.attention.positions import at_most, learned_positions, sinusoidal_positions
from jnn.layers.combinators.ragged import ragged
from jnn.layers.combinators.repeat import repeat
from jnn.layers.combinators.rows import serial
from jnn.layers.combinators.share import share
from jnn.layers.combinators.skip import skip
from jnn.layers.convolution import conv
from jnn.layers.core.initialisers import normal
from jnn.layers.core.layer import Layer
from jnn.layers.dropout import dropout as random_zeros
from jnn.layers.embedding import embedding
from jnn.layers.flatten import as_sequence
from jnn.layers.gated import gated as gated_mlp
from jnn.layers.linear import dense
from jnn.layers.normal import layer_norm, rms_norm
from jnn.layers.pooling import global_mean_pool
from jnn.rules.core.rule import Rule

NORMS = {"rms": rms_norm, "layer": layer_norm}
POSITIONS = ("rotary", "learned", "sinusoidal", None)
SMALL = normal(0.02)
OF_FEATURES = "jnn.ragged(net) reads features, as a pair (x, lengths)."


def transformer_block(
    size: int,
    heads: int,
    *,
    hidden: int | None = None,
    causal: bool = False,
    window: int | None = None,
    key_value_heads: int | None = None,
    rotary: bool | float = False,
    norm: str = "rms",
    activation: str | Rule = "silu",
    gated: bool = True,
    bias: bool = False,
    dropout: float = 0.0,
) -> Layer:
    """Attention, then a network of two layers at each place, each around a skip, behind its norm.

        x = x + attention(norm(x))    x = x + network(norm(x))

    Args:
      size: features of its input, and of its output.
      heads: of attention, see `jnn.attention`, as `causal`, `window` and `key_value_heads`.
      hidden: units of the network; None for 8/3 `size` with a gate, in eights, 4 `size` without.
      causal: whether no place sees a later one.
      window: how many places up to its own each one sees; None for all.
      key_value_heads: heads of keys and values, where they are fewer.
      rotary: whether queries and keys are turned by their places, or the base.
      norm: "rms" or "layer".
      activation: of the hidden units, or of their gate.
      gated: whether the network has a gate, as SwiGLU.
      bias: whether the maps of attention and of the network have biases.
      dropout: the rate at which, in training, numbers of either output are left out, and places
        out of what attention answers.

    >>> jnn.models.transformer_block(64, 4, norm="layer", activation="gelu", gated=False)
    serial(skip(serial(layer_norm(), attention(4))), skip(serial(layer_norm(), dense(256, \
activation='gelu', bias=False), dense(64, bias=False))))
    """
    errors.positive_integer("transformer_block", "size", size)
    errors.choice("transformer_block", "norm", norm, NORMS)
    if hidden is None:
        hidden = -(-8 * size // 24) * 8 if gated else 4 * size
    errors.positive_integer("transformer_block", "hidden", hidden)
    if gated:
        network = [gated_mlp(hidden, activation=activation, bias=bias)]
    else:
        network = [dense(hidden, activation=activation, bias=bias), dense(size, bias=bias)]
    attend = attention(heads, causal=causal, window=window, key_value_heads=key_value_heads,
                       rotary=rotary, dropout=dropout, bias=bias)  # fmt: skip
    behind = _dropout(dropout)
    return serial(
        skip(serial(NORMS[norm](), attend, *behind)), skip(serial(NORMS[norm](), *network, *behind))
    )


def transformer(
    vocabulary: int,
    size: int,
    heads: int,
    layers: int,
    *,
    key_value_heads: int | None = None,
    hidden: int | None = None,
    context: int | None = None,
    window: int | None = None,
    tied: bool = True,
    norm: str = "rms",
    activation: str | Rule = "silu",
    positions: str | None = "rotary",
    dropout: float = 0.0,
    gated: bool = True,
    bias: bool = False,
    remat: bool = False,
) -> Layer:
    """A language model: from tokens, (batch, time), to logits of the next one at each place.

    Embedding, `layers` causal blocks, traced as one, a norm and a last product, LLaMA's by default.
    `fit` with `softmax_cross_entropy` never makes all logits; `jnn.models.generate` writes by it.

    Args:
      vocabulary: the number of tokens.
      size: features at each place.
      heads: of attention; a divisor of `size`.
      layers: how many blocks.
      key_value_heads: heads of keys and values, where they are fewer.
      hidden: units of each block's network; see `transformer_block`.
      context: the most places; None for no limit, where positions are not learned.
      window: how many places up to its own each one sees; None for all.
      tied: whether the last product is by the table of the embedding.
      norm: "rms" or "layer".
      activation: of the hidden units, or of their gate.
      positions: "rotary", "learned", "sinusoidal", or None for none.
      dropout: the rate, behind the embedding and in each block.
      gated: whether the blocks' networks have a gate.
      bias: whether the maps inside the blocks have biases.
      remat: whether a block's backward computes its inside again; see `jnn.repeat`.

    >>> net = jnn.models.transformer(256, 64, 4, 2, key_value_heads=2)
    >>> tokens = jnp.zeros((8, 32), int)
    >>> params, _ = net.init(jax.random.key(0), tokens)
    >>> net(params, tokens).shape, params[0].w.shape, params[-1]
    ((8, 32, 256), (256, 64), DenseParams(w=None, b=None))
    """
    errors.choice("transformer", "positions", positions, POSITIONS)
    errors.choice("transformer", "norm", norm, NORMS)
    if not isinstance(tied, bool):
        errors.fail("transformer", "tied", "True or False", repr(tied), kind=TypeError)
    block = transformer_block(
        size, heads, hidden=hidden, causal=True, window=window, key_value_heads=key_value_heads,
        rotary=positions == "rotary", norm=norm, activation=activation, gated=gated, bias=bias,
        dropout=dropout,
    )  # fmt: skip
    row = [
        embedding(vocabulary, size, weights=SMALL),
        *_positions("transformer", positions, context),
        *_dropout(dropout),
        repeat(block, layers, remat=remat),
        NORMS[norm](),
        dense(vocabulary, bias=False),
    ]
    net = serial(*row)
    return share(net, {f"{len(row) - 1}/w": "0/w.T"}) if tied else net


def encoder(
    vocabulary: int | None,
    size: int,
    heads: int,
    layers: int,
    classes: int,
    *,
    pad: int | None = None,
    key_value_heads: int | None = None,
    hidden: int | None = None,
    context: int | None = None,
    norm: str = "rms",
    activation: str | Rule = "silu",
    positions: str | None = "rotary",
    dropout: float = 0.0,
    gated: bool = True,
    bias: bool = False,
    remat: bool = False,
) -> Layer:
    """From a sequence to the logits of its class: every place sees all, and their mean is read.

    Where sequences differ in length, `pad` is the id that fills them up, which nothing sees;
    `jnn.ragged(encoder(...))` takes a pair of ids, or of features, and lengths.

    Args:
      vocabulary: the number of tokens of (batch, time); None for features, (batch, time, any).
      size: features at each place.
      heads: of attention; a divisor of `size`.
      layers: how many blocks.
      classes: the number of outputs.
      pad: an id that no sequence has, where some are filled up; None where all are as long.
      key_value_heads: heads of keys and values, where they are fewer.
      hidden: units of each block's network; see `transformer_block`.
      context: the most places; None for no limit, where positions are not learned.
      norm: "rms" or "layer".
      activation: of the hidden units, or of their gate.
      positions: "rotary", "learned", "sinusoidal", or None for none.
      dropout: the rate, behind the embedding and in each block.
      gated: whether the blocks' networks have a gate.
      bias: whether the maps inside the blocks have biases.
      remat: whether a block's backward computes its inside again; see `jnn.repeat`.

    >>> net = jnn.models.encoder(256, 64, 4, 2, classes=10)
    >>> x = jnp.zeros((8, 32), int)
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> net(params, x).shape
    (8, 10)
    """
    errors.choice("encoder", "positions", positions, POSITIONS)
    errors.choice("encoder", "norm", norm, NORMS)
    errors.positive_integer("encoder", "classes", classes)
    block = transformer_block(
        size, heads, hidden=hidden, key_value_heads=key_value_heads, rotary=positions == "rotary",
        norm=norm, activation=activation, gated=gated, bias=bias, dropout=dropout,
    )  # fmt: skip
    if pad is not None and vocabulary is None:
        errors.fail("encoder", "pad", "None without a vocabulary", pad, OF_FEATURES)
    net = serial(
        dense(size) if vocabulary is None else embedding(vocabulary, size, weights=SMALL),
        *_positions("encoder", positions, context),
        *_dropout(dropout),
        repeat(block, layers, remat=remat),
        NORMS[norm](),
        global_mean_pool(),
        dense(classes),
    )
    return net if pad is None else ragged(net, pad=pad)


def vit(
    classes: int = 10,
    *,
    patch: int = 4,
    size: int = 64,
    heads: int = 4,
    layers: int = 4,
    hidden: int | None = None,
    norm: str = "layer",
    activation: str | Rule = "gelu",
    dropout: float = 0.0,
    gated: bool = False,
    bias: bool = True,
    remat: bool = False,
) -> Layer:
    """A small vision transformer: patches of an image as the places of an encoder.

    Positions are learned, for images as large as the example; the mean over the patches is read.

    Args:
      classes: the number of outputs.
      patch: pixels along either side of a patch, which divides the image.
      size: features of a patch.
      heads: of attention; a divisor of `size`.
      layers: how many blocks.
      hidden: units of each block's network; see `transformer_block`.
      norm: "layer" or "rms".
      activation: of the hidden units, or of their gate.
      dropout: the rate, behind the patches and in each block.
      gated: whether the blocks' networks have a gate.
      bias: whether the maps inside the blocks have biases.
      remat: whether a block's backward computes its inside again; see `jnn.repeat`.

    >>> net = jnn.models.vit(patch=2, size=32, layers=2)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((4, 8, 8, 1)))
    >>> params[2].shape, net(params, jnp.zeros((4, 8, 8, 1))).shape
    ((16, 32), (4, 10))
    """
    errors.positive_integer("vit", "classes", classes)
    errors.choice("vit", "norm", norm, NORMS)
    block = transformer_block(size, heads, hidden=hidden, norm=norm, activation=activation,
                              gated=gated, bias=bias, dropout=dropout)  # fmt: skip
    return serial(
        conv(size, patch, stride=patch),
        as_sequence(),
        learned_positions(weights=SMALL),
        *_dropout(dropout),
        repeat(block, layers, remat=remat),
        NORMS[norm](),
        global_mean_pool(),
        dense(classes),
    )


def _positions(function: str, positions: str | None, context: int | None) -> list[Layer]:
    if positions == "learned":
        if context is None:
            errors.fail(function, "context", "a number of places where positions are learned", None)
        return [learned_positions(context, weights=SMALL)]
    limit = [] if context is None else [at_most(context)]
    return [*limit, *([sinusoidal_positions()] if positions == "sinusoidal" else [])]


def _dropout(rate: float) -> list[Layer]:
    """The layer; none where nothing is left out, so that no key is needed."""
    return [random_zeros(rate)] if rate else []
