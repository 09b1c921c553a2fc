"""Recurrent networks: stacks of LSTM or GRU that read sequences of numbers or of tokens."""

from jnn import errors
from jnn.layers.combinators.ragged import ragged
from jnn.layers.combinators.rows import parallel, serial
from jnn.layers.core.layer import Layer
from jnn.layers.dropout import dropout as random_zeros
from jnn.layers.embedding import embedding
from jnn.layers.linear import dense
from jnn.layers.pooling import global_mean_pool
from jnn.layers.recurrent import gru, last, lstm

CELLS = {"lstm": lstm, "gru": gru}
READS = ("last", "mean", "each")


def recurrent(
    outputs: int,
    size: int = 128,
    layers: int = 1,
    *,
    cell: str = "lstm",
    both: bool = False,
    read: str = "last",
    vocabulary: int | None = None,
    pad: int | None = None,
    width: int | None = None,
    dropout: float = 0.0,
) -> Layer:
    """Recurrent layers one on the other, and a dense layer.

    It reads (batch, time, features), or token ids (batch, time) with a vocabulary. It makes one
    row of outputs a sample, for classes, from the last state (`read="last"`) or from the mean over
    time ("mean"); or one for each time ("each"), which for next tokens are the vocabulary's logits.

    Args:
      outputs: the classes, or the tokens to choose from.
      size: units of each layer; with `both`, of each direction.
      layers: how many there are.
      cell: "lstm" or "gru".
      both: whether each layer reads from both ends. Whoever predicts the next token must not.
      read: "last", "mean" or "each". From both ends, "last" is where each has read everything.
      vocabulary: the number of tokens, where they are what is read.
      pad: an id that no sequence has, where some are filled up; `jnn.ragged(recurrent(...))` takes
        a pair of ids, or of features, and lengths.
      width: of the embedding of a token; None for `size`.
      dropout: the rate at which numbers between two layers are left out in training.

    >>> net = jnn.models.recurrent(10, 16, cell="gru", both=True)
    >>> params, _ = net.init(jax.random.key(0), jnp.zeros((8, 20, 3)))
    >>> net(params, jnp.zeros((8, 20, 3))).shape
    (8, 10)
    >>> jnn.models.recurrent(256, 16, 2, read="each", vocabulary=256)
    serial(embedding(256, 16), lstm(16), lstm(16), dense(256))
    """
    errors.positive_integer("recurrent", "outputs", outputs)
    errors.positive_integer("recurrent", "size", size)
    errors.positive_integer("recurrent", "layers", layers)
    errors.choice("recurrent", "cell", cell, tuple(CELLS))
    errors.choice("recurrent", "both", both, (False, True))
    errors.choice("recurrent", "read", read, READS)
    if width is not None and vocabulary is None:
        remedy = "It is that of the embedding of tokens: give their number as `vocabulary`."
        errors.fail("recurrent", "width", "None without a vocabulary", width, remedy)
    if pad is not None and vocabulary is None:
        remedy = "jnn.ragged(net) reads features, as a pair (x, lengths)."
        errors.fail("recurrent", "pad", "None without a vocabulary", pad, remedy)
    make, row = CELLS[cell], []
    if vocabulary is not None:
        row.append(embedding(vocabulary, size if width is None else width))
    for i in range(layers):
        ends = read == "last" and i == layers - 1
        ways = [
            serial(make(size, reverse=reverse), last(reverse=reverse)) if ends and both
            else make(size, reverse=reverse)
            for reverse in ((False, True) if both else (False,))
        ]  # fmt: skip
        row.append(parallel(*ways, combine="concatenate") if both else ways[0])
        if dropout and i < layers - 1:
            row.append(random_zeros(dropout))
    if read == "last" and not both:
        row.append(last())
    net = serial(*row, *[global_mean_pool()] * (read == "mean"), dense(outputs))
    return net if pad is None else ragged(net, pad=pad)
