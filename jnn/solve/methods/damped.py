"""Levenberg-Marquardt for many residuals or many unknowns: without an orthogonal decomposition."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import cho_solve

from jnn import tree
from jnn.arithmetic import nonzero
from jnn.solve.drive import Solver, State
from jnn.solve.linear import cg, decomposed
from jnn.solve.problem import Squares
from jnn.solve.result import SolverStatus
from jnn.xla.control import cond

PATIENCE = 8  # Steps in a row whose gain cannot be seen.
STEP = 1e3  # In units of epsilon: the relative length of the step that is the last.
FIRST = 1e-3  # The first lambda, relative to the curvature.
FORCING = 1e-3  # Of the residual of the linear system, where it is solved by iteration.
LIMIT = 1e12  # A lambda, relative to the curvature, at which no step is left.


class DampedMemory(NamedTuple):
    """What is known at x, and how far the linear model is trusted."""

    residual: jax.Array  # Times the roots of the weights.
    root: jax.Array
    normal: Any  # J^T J, or nothing where only products with J are at hand.
    scale: jax.Array  # D: the largest column norms so far, or 1.
    strength: jax.Array  # lambda
    growth: jax.Array  # Its factor after the next bad step.
    idle: jax.Array


def cholesky_solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """The solution of `matrix x = right`, symmetric and positive definite."""
    return cho_solve((lax.linalg.cholesky(matrix), True), right)


def damped(linear: str) -> Solver:
    """The solver of H-108 by its normal equations: "cholesky" forms them, "cg" multiplies only.

    Lambda follows the ratio of the gain to what the model promised (Nielsen, 1999): it falls to a
    third at best after a good step, and doubles, quadruples ... after bad ones.
    """

    def model(objective: Squares, x: jax.Array, residual: jax.Array, root: jax.Array) -> tuple:
        """The gradient J^T r (H-109), and J^T J."""
        if linear == "cg":
            _, pull = objective.products(x)
            return pull(root * residual), ()
        jacobian = root[:, None] * objective.jacobian(x)
        gradient = jnp.dot(residual, jacobian, precision=tree.HIGHEST)
        return gradient, jnp.dot(jacobian.T, jacobian, precision=tree.HIGHEST)

    def scales(normal: Any, before: jax.Array) -> jax.Array:
        if linear == "cg":
            return before
        columns = jnp.sqrt(jnp.diagonal(normal))
        return jnp.maximum(before, jnp.where(columns > 0, columns, 0))

    def init(objective: Squares, x: jax.Array) -> State:
        residual, aux = objective.residual(x)
        value, root = objective.weigh(residual)
        residual = root * residual
        gradient, normal = model(objective, x, residual, root)
        size = objective.size(x, gradient)
        first = jnp.asarray(FIRST, x.dtype)
        scale = scales(normal, jnp.zeros_like(x))
        if linear == "cg":
            scale = jnp.ones_like(x)
            push, _ = objective.products(x)
            square = tree.dot(gradient, gradient)
            along = tree.norm(root * push(gradient))
            first *= jnp.where(square > 0, along**2 / nonzero(square), 1)
        sane = jnp.isfinite(value) & jnp.isfinite(size)
        status = jnp.where(sane, SolverStatus.RUNNING, SolverStatus.NOT_FINITE)
        two = jnp.full_like(value, 2)
        memory = DampedMemory(residual, root, normal, scale, first, two, jnp.int32(0))
        return State(x, value, gradient, size, aux, jnp.int32(1), status, memory)

    def direction(objective: Squares, state: State) -> tuple[jax.Array, jax.Array]:
        """The step, and the square of J times it."""
        known: DampedMemory = state.memory
        if linear == "cg":
            push, pull = objective.products(state.x)

            def multiply(v: jax.Array) -> jax.Array:
                return pull(known.root**2 * push(v)) + known.strength * v

            limit = min(10 * state.x.size, 500)
            move = cg(multiply, -state.gradient, tol=FORCING, max_steps=limit).x
            ahead = known.root * push(move)
            return move, tree.dot(ahead, ahead)
        safe = nonzero(known.scale)
        unit = known.normal / (safe[:, None] * safe[None, :])
        matrix = unit + known.strength * jnp.eye(len(safe), dtype=safe.dtype)
        move = -decomposed(cholesky_solve, matrix, state.gradient / safe) / safe
        return move, tree.dot(move, jnp.dot(known.normal, move, precision=tree.HIGHEST))

    def step(objective: Squares, state: State) -> State:
        known: DampedMemory = state.memory
        eps = float(jnp.finfo(state.x.dtype).eps)
        move, square = direction(objective, state)
        x = state.x + move
        residual, aux = objective.residual(x)
        value, root = objective.weigh(residual)
        residual = root * residual
        promised = -tree.dot(state.gradient, move) - square / 2
        fall = state.value - value
        if not objective.robust:  # From pieces that do not cancel.
            fall = tree.dot(known.residual - residual, known.residual + residual) / 2
        ratio = jnp.where(promised > 0, fall / nonzero(promised), 0)

        # Too small to be seen in the value: the step is taken for the parameters' last digits.
        far = tree.norm(known.scale * state.x)
        noise = 4 * eps * (state.value + jnp.sqrt(2 * state.value) * far)
        unseen = jnp.abs(promised) <= noise
        sane = jnp.isfinite(value) & jnp.isfinite(promised)
        level = unseen & (value <= state.value + 2 * noise)
        accept = sane & ((ratio > 1e-4) & (value <= state.value) | level)
        idle = jnp.where(unseen, known.idle + 1, 0)
        short = tree.norm(known.scale * move) <= STEP * eps * far
        ended = sane & (short | (idle >= PATIENCE) | unseen & ~accept) | (state.value == 0)

        better = known.strength * jnp.maximum(1 / 3, 1 - (2 * jnp.minimum(ratio, 1) - 1) ** 3)
        strength = jnp.where(accept, jnp.where(unseen, known.strength, better),
                             known.strength * known.growth)  # fmt: skip
        growth = jnp.where(accept, 2, 2 * known.growth).astype(strength.dtype)

        def renew() -> tuple:
            return model(objective, x, residual, root)

        gradient, normal = cond(accept, renew, lambda: (state.gradient, known.normal))
        usable = accept & jnp.isfinite(tree.largest_entry(gradient))
        limit = min(LIMIT, float(jnp.finfo(strength.dtype).max))
        status = jnp.where(strength > limit, SolverStatus.STALLED, state.status)
        status = jnp.where(ended, SolverStatus.SMALL_CHANGE, status)
        evaluations = state.evaluations + 1
        scale = scales(normal, known.scale)
        memory = DampedMemory(residual, root, normal, scale, strength, growth, idle)
        size = objective.size(x, gradient)
        new = State(x, value, gradient, size, aux, evaluations, status, memory)
        strength = jnp.where(accept, known.strength * known.growth, strength)
        kept = known._replace(strength=strength, growth=2 * known.growth, idle=idle)
        old = state._replace(evaluations=evaluations, status=status, memory=kept)
        return jax.tree.map(lambda a, b: jnp.where(usable, a, b), new, old)

    return Solver(init, step, "levenberg_marquardt", solves=Squares)
