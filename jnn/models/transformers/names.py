"""What PyTorch calls the layers of a transformer's blocks."""

from jnn import errors
from jnn.layers.combinators.repeat import repeat
from jnn.layers.core.layer import Layer

OF_BLOCK = {
    "0/0/0": "norm1", "0/0/1": "self_attn", "1/0/0": "norm2", "1/0/1": "linear1",
    "1/0/2": "linear2",
}  # fmt: skip


def torch_names(net: Layer) -> dict[str, str]:
    """How `nn.TransformerEncoder` calls the layers of blocks, by our paths, for `load_torch`.

    Of a block by itself, as `nn.TransformerEncoderLayer(..., norm_first=True)` calls them; of a
    network those of its blocks, under `layers`. What stands beside them is the caller's to name:
    `names=jnn.models.torch_names(net) | {"0": "embedding"}`.

    Args:
      net: `jnn.models.transformer_block(..., norm="layer", gated=False)`, with `bias=True` for
        PyTorch's own, or a network of such blocks.

    >>> block = jnn.models.transformer_block(8, 2, norm="layer", gated=False, bias=True)
    >>> jnn.models.torch_names(block)["0/0/1"]
    'self_attn'
    >>> net = jnn.models.transformer(100, 8, 2, 3, norm="layer", gated=False, bias=True)
    >>> jnn.models.torch_names(net)["1/2/1/0/1"]
    'layers.2.linear1'
    """
    of = net.spec
    if of.name == "share":
        return torch_names(of["inner"])
    if _is_block(net):
        return dict(OF_BLOCK)
    for i, inner in enumerate(of.layers):
        if inner.spec.maker is repeat and _is_block(inner.spec["inner"]):
            return {
                f"{i}/{j}/{ours}": f"layers.{j}.{theirs}"
                for j in range(inner.spec["times"])
                for ours, theirs in OF_BLOCK.items()
            }
    expected = "of blocks by jnn.models.transformer_block(..., gated=False)"
    errors.fail("torch_names", "net", expected, repr(net)[:80])


def _is_block(net: Layer) -> bool:
    """Whether it is attention and two dense layers, each behind a norm and around a skip."""
    inner = [one.spec["inner"] for one in net.spec.layers if one.spec.name == "skip"]
    names = [[one.spec.name for one in row.spec.layers if one.spec.name != "dropout"]
             for row in inner]  # fmt: skip
    norm = names and names[0][:1]
    return bool(norm) and names == [[*norm, "attention"], [*norm, "dense", "dense"]]
