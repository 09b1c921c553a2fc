"""Borasi's recursion of Jacobians, written out: a second way to the gradient, for debugging.

For a network that activates before its affine maps (B-2), and the loss S = sum |F - t|^2 over all
samples (his has no 1/2):

    J^L = 1,  J^{l-1} = J^l w^l DPhi(x^{l-1})                                    (B-14..18)
    grad_b^l S = 2 (J^l)^T (F - t),  grad_w^l S = grad_b^l S (x) Phi(x^{l-1})    (B-20)

Rows are samples and weights are (in, out), so his w^l is our `w` transposed. J^l is the Jacobian of
the output in x^l, a matrix for each sample: this costs n_L times what backpropagation costs, which
carries the one product (J^l)^T (F - t) instead (Corollary 1.2.1). The recursion holds for each
sample alone; only gradients are summed over samples, not what is multiplied on.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors
from jnn.layers.combinators.rows import each
from jnn.layers.core.layer import Layer
from jnn.layers.linear import DenseParams
from jnn.rules.linear.affine import affine
from jnn.rules.pointwise.activation import activation as chosen


class Recursion(NamedTuple):
    """Values x^0 ... x^L, each (batch, n_l), and Jacobians J^0 ... J^L, each (batch, n_L, n_l)."""

    values: tuple[jax.Array, ...]
    jacobians: tuple[jax.Array, ...]


def jacobians(net: Layer, params: Any, x: jax.Array) -> Recursion:
    """The values of all layers and the Jacobians of the output in them, B-14..18.

    B-17 and B-18 as printed do not agree where l ends: J^L = 1 belongs to it, and nothing beyond.

    Args:
      net: `jnn.models.mlp(sizes, order="before")`.
      params: its parameters.
      x: inputs, (batch, n_0).

    >>> net = jnn.models.mlp([3, 2], order="before")
    >>> params, _ = net.init(jax.random.key(0), jnp.ones((4, 5)))
    >>> [j.shape for j in jnn.models.jacobians(net, params, jnp.ones((4, 5))).jacobians]
    [(4, 2, 5), (4, 2, 3), (4, 2, 2)]
    """
    steps = _steps("jacobians", net, params, x)
    batch, n = steps[-1].y.shape
    found = [jnp.broadcast_to(jnp.eye(n, dtype=x.dtype), (batch, n, n))]  # J^L = 1
    for step in reversed(steps):
        jw = jnp.einsum("bno,io->bni", found[-1], step.w)
        found.append(jw * step.slope[:, None, :])  # B-16: J^{l-1} = J^l w^l DPhi(x^{l-1})
    return Recursion((x, *(step.y for step in steps)), tuple(reversed(found)))


def gradient_by_jacobians(
    net: Layer, params: Any, x: jax.Array, t: jax.Array
) -> tuple[DenseParams, ...]:
    """The gradient of S = sum |F - t|^2 from the Jacobians, B-20, shaped as the parameters.

    B-20 as printed has one layer's weights in every factor of its product, where each factor has
    its own layer's, and lacks the sum over samples.

    >>> net = jnn.models.mlp([3, 2], order="before")
    >>> x, t = jnp.ones((4, 5)), jnp.zeros((4, 2))
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> grads = jnn.models.gradient_by_jacobians(net, params, x, t)
    >>> expected = jax.grad(lambda p: jnp.sum((net(p, x) - t) ** 2))(params)
    >>> bool(jnp.allclose(grads[0].w, expected[0].w, rtol=1e-4))
    True
    """
    steps = _steps("gradient_by_jacobians", net, params, x)
    residual = steps[-1].y - t
    return tuple(
        step.gradient(2 * jnp.einsum("bno,bn->bo", jacobian, residual))  # 2 (J^l)^T (F - t)
        for step, jacobian in zip(steps, jacobians(net, params, x).jacobians[1:], strict=True)
    )


def gradient_by_recursion(
    net: Layer, params: Any, x: jax.Array, t: jax.Array
) -> tuple[DenseParams, ...]:
    """The same gradient by Corollary 1.2.1, which is backpropagation.

        grad_b^L = 2 (F - t),  grad_b^{l-1} = DPhi(x^{l-1}) (w^l)^T grad_b^l

    and grad_w^l = grad_b^l (x) Phi(x^{l-1}). The corollary as printed doubles grad_w: the 2 is in
    grad_b already.

    >>> net = jnn.models.mlp([3, 2], order="before")
    >>> x, t = jnp.ones((4, 5)), jnp.zeros((4, 2))
    >>> params, _ = net.init(jax.random.key(0), x)
    >>> [g.w.shape for g in jnn.models.gradient_by_recursion(net, params, x, t)]
    [(5, 3), (3, 2)]
    """
    steps = _steps("gradient_by_recursion", net, params, x)
    grad_b, grads = 2 * (steps[-1].y - t), []
    for step in reversed(steps):
        grads.append(step.gradient(grad_b))
        grad_b = jnp.einsum("bo,io->bi", grad_b, step.w) * step.slope
    return tuple(reversed(grads))


class _Step(NamedTuple):
    """Layer l at x^{l-1}: its parameters, Phi(x^{l-1}), the diagonal of DPhi there, and x^l."""

    w: jax.Array
    b: jax.Array | None
    phi: jax.Array
    slope: jax.Array
    y: jax.Array

    def gradient(self, grad_b: jax.Array) -> DenseParams:
        """Summed over samples; grad_w = grad_b (x) Phi(x^{l-1})."""
        grad_w = jnp.einsum("bi,bo->io", self.phi, grad_b)
        return DenseParams(grad_w, None if self.b is None else grad_b.sum(0))


def _steps(function: str, net: Layer, params: Any, x: jax.Array) -> list[_Step]:
    before = [inner.spec.name == "dense" and inner.spec["order"] == "before"
              for inner in net.spec.layers]  # fmt: skip
    if not before or not all(before):
        expected = 'dense layers in a row with order="before"'
        errors.fail(function, "net", expected, repr(net), "See jnn.models.mlp.")
    errors.rank(function, "x", x, 2)
    steps = []
    for inner, (w, b), _ in each(function, net.spec.layers, params, ()):
        activation = chosen(function, inner.spec["activation"] or "identity").parts
        phi, saved = activation.forward(x)
        (slope,) = activation.backward(saved, jnp.ones_like(x))
        x = affine.parts.definition(phi, w, b)  # B-2
        steps.append(_Step(w, b, phi, slope, x))
    return steps
