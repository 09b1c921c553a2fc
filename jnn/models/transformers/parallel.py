"""Which devices hold what of a transformer, where several compute one sample together."""

from jnn import errors
from jnn.layers.combinators.repeat import repeat
from jnn.layers.core.layer import Layer

Split = dict[str, tuple[str | None, ...]]


def tensor_parallel(net: Layer, axis: str = "model") -> Split:
    """The parameters of a transformer divided within its layers, for `jnn.train.Layout`.

    Heads of attention and hidden units are divided among the devices along an axis of the mesh:
    queries, keys, values, gate and first matrix by columns, what follows them by rows, so that a
    block needs two sums over devices. The embedding and the last product are divided by
    vocabulary. Norms, positions and biases behind a sum are copied.

    Args:
      net: `jnn.models.transformer(...)`, or `encoder` or `vit`. Devices along the axis divide its
        heads, those of keys and values, its hidden units and its vocabulary.
      axis: the mesh's axis.

    >>> net = jnn.models.transformer(256, 64, 4, 2)
    >>> split = jnn.models.tensor_parallel(net)
    >>> split["1/each/0/0/1/w_q"], split["1/each/0/0/1/w_out"], split["0/w"]
    ((None, None, 'model'), (None, 'model', None), ('model', None))
    >>> mesh = jax.make_mesh((1, 1), ("data", "model"))
    >>> layout = jnn.train.Layout(mesh, params=split)
    """
    row = net.spec["inner"] if net.spec.name == "share" else net
    split: Split = {}
    for i, layer in enumerate(row.spec.layers):
        if layer.spec.maker is repeat:
            split |= _of_blocks(f"{i}/each", layer.spec["inner"], axis)
    if not split:
        expected = "jnn.models.transformer(...), or another network whose blocks are in `repeat`"
        errors.fail("tensor_parallel", "net", expected, repr(net)[:80])
    first, last = row.spec.layers[0], row.spec.layers[-1]
    if first.spec.name == "embedding":
        split["0/w"] = (axis, None)
        if last.spec.name == "dense" and net is row:  # Else tied.
            split[f"{len(row.spec.layers) - 1}/w"] = (None, axis)
    return split


def _of_blocks(place: str, block: Layer, axis: str) -> Split:
    """Of `serial(skip(serial(norm, attention)), skip(serial(norm, network)))`, stacked."""
    split: Split = {}
    columns, rows, entries = (None, None, axis), (None, axis, None), (None, axis)
    for i, skipped in enumerate(block.spec.layers):
        inner = skipped.spec["inner"].spec.layers if skipped.spec.name == "skip" else ()
        dense = 0
        for j, layer in enumerate(inner):
            at, spec = f"{place}/{i}/0/{j}", layer.spec
            if spec.name == "attention":
                ins, outs, biased = ("q", "k", "v"), ("out",), spec["bias"]
            elif spec.name == "gated":
                ins, outs, biased = ("gate", "up"), ("down",), spec["bias"]
            elif spec.name == "dense":
                dense += 1
                split[f"{at}/w"] = columns if dense == 1 else rows
                if spec["bias"] and dense == 1:
                    split[f"{at}/b"] = entries
                continue
            else:
                continue
            split |= {f"{at}/w_{name}": columns for name in ins}
            split |= {f"{at}/w_{name}": rows for name in outs}
            if biased:
                split |= {f"{at}/b_{name}": entries for name in ins}
    return split
