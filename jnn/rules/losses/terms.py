"""What losses of several outputs share: a term an output, counted and summed over a sample."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.arithmetic import as_wide
from jnn.rules.core.rule import Example, Rule

Term = Callable[..., tuple[jax.Array, ...]]
Draw = Callable[[np.random.Generator, Any], tuple[np.ndarray, np.ndarray]]  # Of a shape: y, t.


def centred(random: np.random.Generator, shape: Any) -> tuple[np.ndarray, np.ndarray]:
    """Normal numbers."""
    return random.normal(size=shape), random.normal(size=shape)


def error(y: jax.Array, t: jax.Array) -> jax.Array:
    """Y - t, wide."""
    return as_wide(y) - as_wide(t)


def factor(e: jax.Array, weights: Any, outputs: str) -> Any:
    """What each output's term is multiplied by."""
    each = 1 / e.shape[-1] if outputs == "mean" else 1.0
    return each if weights is None else each * jnp.broadcast_to(as_wide(weights), e.shape)


def reduced(terms: jax.Array, weights: Any, outputs: str, dtype: Any) -> jax.Array:
    """The sum over the last axis of terms, each as it counts."""
    return (factor(terms, weights, outputs) * terms).sum(-1).astype(dtype)


def check_outputs(function: str) -> Callable[..., None]:
    """The check of a loss `(y, t, weights, *, outputs)`."""

    def check(y, t, weights, *, outputs):
        errors.floating(function, y=y, t=t, **({} if weights is None else {"weights": weights}))
        if y.ndim == 0 or y.shape[-1] == 0:
            errors.fail(function, "y", "of shape (..., n), n outputs a sample", errors.describe(y))
        errors.shape(function, "t", t, y.shape, "Axes of size 1 are not broadcast: reshape it.")
        if weights is not None:
            errors.shape(function, "weights", weights, y.shape[-1:], "One weight an output.")
        errors.choice(function, "outputs", outputs, ("sum", "mean"))

    return check


def ordinary(weighted: bool, outputs: str, draw: Draw = centred) -> Callable[..., Example]:
    """Makes examples of any shape, y and t as `draw` has them."""

    def make(random: np.random.Generator) -> Example:
        shape = tuple(random.integers(1, 5, random.integers(1, 4)))
        weights = random.uniform(0.5, 2, shape[-1]) if weighted else None
        return Example(*draw(random, shape), weights, outputs=outputs)

    return make


def _extreme(random: np.random.Generator) -> Example:
    return Example(1e4 * random.normal(size=(3, 4)), random.normal(size=(3, 4)))


def of_error(of: Rule) -> Callable[[Term], Term]:
    """Completes a rule of (y, t, weights) from `term(e, **settings) = f(e), f'(e)`."""

    def complete(term: Term) -> Term:
        def forward(y, t, weights, **settings: Any):
            value = of.parts.definition(y, t, weights, **settings)
            return value, (error(y, t).astype(y.dtype), weights)

        def backward(saved, v, /, *, outputs, **settings: Any):
            e, weights = saved
            e, v = as_wide(e), as_wide(v)[..., None]
            value, slope = term(e, **settings)
            dy = v * factor(e, weights, outputs) * slope
            dw = v * factor(e, None, outputs) * value
            return dy, -dy, None if weights is None else dw.sum(range(dw.ndim - 1))

        def tangent(primals, tangents, *, outputs, **settings: Any):
            (y, t, weights), (dy, dt, dw) = primals, tangents
            e = error(y, t)
            value, slope = term(e, **settings)
            terms = factor(e, weights, outputs) * slope * (as_wide(dy) - as_wide(dt))
            if weights is not None:
                terms = terms + factor(e, dw, outputs) * value
            return of.parts.definition(y, t, weights, outputs=outputs, **settings), terms.sum(-1)

        _told(of, forward, backward, tangent, centred)
        of.extreme(_extreme)
        return term

    return complete


def of_pair(of: Rule, draw: Draw) -> Callable[[Term], Term]:
    """Completes a rule of (y, t, weights) from `term(y, t, **settings) = f, df/dy, df/dt`."""

    def complete(term: Term) -> Term:
        def forward(y, t, weights, **settings: Any):
            return of.parts.definition(y, t, weights, **settings), (y, t, weights)

        def backward(saved, v, /, *, outputs, **settings: Any):
            y, t, weights = saved
            value, dy, dt = term(as_wide(y), as_wide(t), **settings)
            v = as_wide(v)[..., None]
            u = v * factor(value, weights, outputs)
            dw = v * factor(value, None, outputs) * value
            return u * dy, u * dt, None if weights is None else dw.sum(range(dw.ndim - 1))

        def tangent(primals, tangents, *, outputs, **settings: Any):
            (y, t, weights), (dy, dt, dw) = primals, tangents
            value, by_y, by_t = term(as_wide(y), as_wide(t), **settings)
            along = by_y * as_wide(dy) + by_t * as_wide(dt)
            terms = factor(value, weights, outputs) * along
            if weights is not None:
                terms = terms + factor(value, dw, outputs) * value
            return of.parts.definition(y, t, weights, outputs=outputs, **settings), terms.sum(-1)

        _told(of, forward, backward, tangent, draw)
        return term

    return complete


def _told(of: Rule, forward: Any, backward: Any, tangent: Any, draw: Draw) -> None:
    of.forward(forward)
    of.backward(backward)
    of.tangent(tangent)
    of.check(check_outputs(of.name))
    for weighted in (False, True):
        for outputs in ("sum", "mean"):
            of.example(ordinary(weighted, outputs, draw))
