"""Attention as PyTorch holds it: the weights of queries, keys and values are one array there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn.layers.attention.attention import AttentionParams
from jnn.layers.combinators.repeat import rolled, unrolled
from jnn.layers.linear import DenseParams


class Joined(NamedTuple):
    """As `nn.MultiheadAttention`, of a sequence to itself."""

    w_in: jax.Array
    b_in: jax.Array | None
    out_proj: DenseParams


class Crossed(NamedTuple):
    """As `nn.MultiheadAttention(kdim=..., vdim=...)`, of which the context has another width."""

    w_q: jax.Array
    w_k: jax.Array
    w_v: jax.Array
    b_in: jax.Array | None
    out_proj: DenseParams


class Apart(NamedTuple):
    """As LLaMA, where keys and values have fewer heads."""

    q_proj: DenseParams
    k_proj: DenseParams
    v_proj: DenseParams
    o_proj: DenseParams


def as_theirs(params: Any) -> Any:
    """Parameters with the layers of each `repeat` one by one, and attention as PyTorch has it."""
    return jax.tree.map(_theirs, unrolled(params), is_leaf=_is_ours)


def as_ours(params: Any, like: Any) -> Any:
    """The other way: in the structure of `like`.

    >>> from jnn.store.attention import as_ours, as_theirs
    >>> like, _ = jnn.attention(2, bias=True).init(jax.random.key(0), jnp.zeros((1, 3, 4)))
    >>> jax.tree.map(jnp.shape, as_theirs(like))
    Joined(w_in=(4, 12), b_in=(12,), out_proj=DenseParams(w=(4, 4), b=(4,)))
    >>> jax.tree.map(jnp.shape, as_ours(as_theirs(like), like)) == jax.tree.map(jnp.shape, like)
    True
    """
    kinds = (Joined, Crossed, Apart)
    opened = jax.tree.map(_ours, params, is_leaf=lambda node: isinstance(node, kinds))
    return rolled(opened, like)


def _is_ours(node: Any) -> bool:
    return isinstance(node, AttentionParams)


def _theirs(node: Any) -> Any:
    if not _is_ours(node) or any(w is None for w in node[:4]):
        return node  # What is tied is elsewhere.
    ours: AttentionParams = node
    w = ours[:3]
    b: Any = ours.b_q, ours.b_k, ours.b_v
    out = DenseParams(ours.w_out, ours.b_out)
    shapes = {a.shape for a in w}
    if len({outputs for _, outputs in shapes}) > 1:
        q, k, v = map(DenseParams, w, b)
        return Apart(q, k, v, out)
    b_in = None if ours.b_q is None else jnp.concatenate(b)
    if len(shapes) > 1:
        return Crossed(*w, b_in, out)
    return Joined(jnp.concatenate(w, 1), b_in, out)


def _ours(node: Any) -> Any:
    if isinstance(node, Apart):
        out, projections = node.o_proj, node[:3]
        w, b = [p.w for p in projections], [p.b for p in projections]
    elif isinstance(node, Joined | Crossed):
        joined = isinstance(node, Joined)
        w = jnp.split(node.w_in, 3, 1) if joined else (node.w_q, node.w_k, node.w_v)
        b = (None,) * 3 if node.b_in is None else jnp.split(node.b_in, 3)
        out = node.out_proj
    else:
        return node
    return AttentionParams(w[0], w[1], w[2], out.w, b[0], b[1], b[2], out.b)
