"""Gauss-Newton and Levenberg-Marquardt (H-104..109, H-116, H-117)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jnn import errors, tree
from jnn.arithmetic import nonzero
from jnn.solve.drive import Solver, State
from jnn.solve.linear import decomposed
from jnn.solve.methods.damped import PATIENCE, STEP, damped
from jnn.solve.problem import Squares
from jnn.solve.result import SolverStatus
from jnn.value import constructor
from jnn.xla.control import cond, while_loop

svd = partial(jnp.linalg.svd, full_matrices=False)


class Linear(NamedTuple):
    """The problem linearised at x, in scaled variables, by its singular values."""

    residual: jax.Array
    jacobian: jax.Array
    scale: jax.Array  # D: the largest column norms so far.
    singular: jax.Array  # w of J / D = U diag(w) V^T.
    right: jax.Array  # V^T
    projected: jax.Array  # U^T r


class MarquardtMemory(NamedTuple):
    """What is known at x, and how far the linear model is trusted."""

    linear: Linear
    radius: jax.Array  # Of |D step|.
    idle: jax.Array  # Steps in a row whose gain cannot be seen.


def free(objective: Squares, x: jax.Array, gradient: jax.Array) -> jax.Array | None:
    """Which entries may move: those at a bound that the gradient pushes against may not."""
    return None if objective.box is None else objective.allow(x, -gradient) != 0


def decompose(
    residual: jax.Array, jacobian: jax.Array, free: jax.Array | None, before: jax.Array
) -> Linear:
    """Scales the columns and splits the Jacobian: QR first, so that the SVD is of n x n."""
    if free is not None:
        jacobian = jnp.where(free[None, :], jacobian, 0)
    norms = jax.vmap(tree.norm, in_axes=1)(jacobian)
    scale = jnp.maximum(norms, before)
    scale = nonzero(scale)  # A column of zeros is left alone.
    q, upper = decomposed(jnp.linalg.qr, jacobian / scale[None, :])
    left, singular, right = decomposed(svd, upper)
    rotated = jnp.dot(q.T, residual, precision=tree.HIGHEST)
    return Linear(
        residual, jacobian, scale, singular, right,
        jnp.dot(left.T, rotated, precision=tree.HIGHEST),
    )  # fmt: skip


def damped_step(linear: Linear, damping: jax.Array, cutoff: float) -> jax.Array:
    """The solution of `(J^T J + damping D^2) step = -J^T r` (H-108), singular directions dropped.

    Singular values below `cutoff` times the largest count as zero (H-116, H-117).
    """
    w = linear.singular
    kept = w > cutoff * jnp.max(w, initial=0)
    weight = jnp.where(kept, w / nonzero(w * w + damping), 0)
    step = jnp.dot(linear.right.T, weight * linear.projected, precision=tree.HIGHEST)
    return -step / linear.scale


def damping(linear: Linear, radius: jax.Array, cutoff: float) -> jax.Array:
    """The least lambda >= 0 whose step is within a tenth of the radius (Moré, 1978).

    In the singular values the length of the step is a sum, so that Newton's iteration for lambda,
    on Hebden's reciprocal form, costs next to nothing.
    """
    w = linear.singular
    kept = w > cutoff * jnp.max(w, initial=0)
    w, c = jnp.where(kept, w, 1), jnp.where(kept, w * linear.projected, 0)
    most = tree.norm(c) / radius

    def length(strength: jax.Array) -> jax.Array:
        return tree.norm(c / (w * w + strength))

    def turn(carry):
        strength, low, high, i = carry
        long = length(strength)
        low = jnp.where(long > radius, strength, low)
        high = jnp.where(long > radius, high, strength)
        bent = jnp.sum(c * c / (w * w + strength) ** 3) / long
        following = strength + long / radius * (long - radius) / bent
        sound = (following > low) & (following < high)
        middle = jnp.maximum(jnp.sqrt(low * high), 1e-3 * high)
        return jnp.where(sound, following, middle), low, high, i + 1

    def unfinished(carry):
        strength, _, _, i = carry
        return (jnp.abs(length(strength) - radius) > 0.1 * radius) & (i < 30)

    zero = jnp.zeros_like(radius)
    needed = length(zero) > 1.1 * radius
    start = (zero, zero, most, jnp.where(needed, 0, 30).astype(jnp.int32))
    strength, *_ = while_loop(unfinished, turn, start)
    return jnp.where(needed, strength, 0)


def svd_solve(a: jax.Array, b: jax.Array, *, cutoff: float | None = None) -> jax.Array:
    """The shortest least-squares solution of `A x = b` by a truncated SVD (H-116, H-117).

    `x = V diag(1/w) U^T b`, where singular values `w` up to `cutoff` times the largest count as
    zero. The default, the dtype's epsilon times the larger side of A, suits any precision;
    Hedberg's are 1e-7 for float32 and 1e-15 for float64.

    >>> a = jnp.array([[1.0, 2.0], [2.0, 4.0]])
    >>> jnn.solve.svd_solve(a, jnp.array([1.0, 2.0])).round(3).tolist()
    [0.20000000298023224, 0.4000000059604645]
    """
    errors.rank("svd_solve", "a", a, 2)
    errors.shape("svd_solve", "b", b, a.shape[:1])
    if cutoff is None:
        cutoff = float(jnp.finfo(a.dtype).eps) * max(a.shape)
    left, w, right = decomposed(svd, a)
    kept = w > cutoff * jnp.max(w, initial=0)
    inverse = jnp.where(kept, 1 / nonzero(w), 0)
    rotated = jnp.dot(left.T, b, precision=tree.HIGHEST)
    return jnp.dot(right.T, inverse * rotated, precision=tree.HIGHEST)


@constructor
def levenberg_marquardt(
    *,
    linear: str = "svd",
    radius: float = 1.0,
    geodesic: bool = False,
    cutoff: float | None = None,
) -> Solver:
    """Levenberg-Marquardt: damped Gauss-Newton steps, `(J^T J + lambda D^2) step = -J^T r` (H-108).

    D holds the largest column norms of J met so far (Marquardt's diagonal, made monotone); columns
    of zeros are left alone. Hedberg gives no schedule for lambda. Here, as in Moré's form of the
    method, it is the least that keeps `|D step|` within a radius, which grows while the model
    predicts the decrease well and shrinks where it does not; lambda is 0 near the end. The step
    comes from a QR and an SVD of the scaled Jacobian, so that rank-deficient problems are solved by
    the shortest step and lambda may change without another decomposition.

    It stops at a step of a thousand epsilons, or after a few whose decrease the precision cannot
    show, or by the tolerances of `least_squares`.

    Args:
      linear: how the linear systems are solved. "svd" as above; "cholesky" by the normal equations,
        cheaper where residuals are many, with half the digits where J is ill-conditioned; "cg" by
        conjugate gradients with products of J alone, which is never formed, for many parameters.
        The last two have a lambda that follows the gain (Nielsen) instead of a radius, heed no
        bounds and take no other argument; "cg" has D = 1.
      radius: the first one, relative to `|D x|`.
      geodesic: adds the second-order correction of Transtrum and Sethna, for one more evaluation
        of the residuals a step.
      cutoff: singular values below this part of the largest count as zero; by default epsilon
        times the number of parameters.

    >>> r = lambda x: jnp.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> fit = jnn.least_squares(r, jnp.array([-1.2, 1.0]), jnn.levenberg_marquardt())
    >>> fit.params.round(3).tolist()
    [1.0, 1.0]
    """
    errors.choice("levenberg_marquardt", "linear", linear, ("svd", "cholesky", "cg"))
    errors.number("levenberg_marquardt", "radius", radius, 0)
    if linear != "svd":
        if (radius, geodesic, cutoff) != (1.0, False, None):
            errors.fail("levenberg_marquardt", "linear", "'svd' with the other arguments", linear)
        return damped(linear)
    return make(radius, geodesic, cutoff, "levenberg_marquardt")


@constructor
def gauss_newton(*, cutoff: float | None = None) -> Solver:
    """Gauss-Newton: undamped steps (H-107), of the shortest length where J is rank-deficient.

    A step that does not lower the sum of squares is refused and shortened as in
    `levenberg_marquardt`, so that it never goes up; a good step lifts the bound again.

    >>> r = lambda x: jnp.exp(x) - jnp.arange(1.0, 4.0)
    >>> jnn.least_squares(r, jnp.zeros(3), jnn.gauss_newton()).params.round(2).tolist()
    [0.0, 0.6899999976158142, 1.100000023841858]
    """
    return make(float("inf"), False, cutoff, "gauss_newton")


def make(radius: float, geodesic: bool, cutoff: float | None, name: str) -> Solver:
    """The solver of these settings."""
    unbound = radius == float("inf")

    def init(objective: Squares, x: jax.Array) -> State:
        (residual, aux), jacobian = objective.residual(x), objective.jacobian(x)
        value, root = objective.weigh(residual)
        residual, jacobian = root * residual, root[:, None] * jacobian
        gradient = jnp.dot(residual, jacobian, precision=tree.HIGHEST)  # H-109: J^T r
        linear = decompose(residual, jacobian, free(objective, x, gradient), jnp.zeros_like(x))
        far = tree.norm(linear.scale * x)
        first = jnp.asarray(radius, x.dtype) * nonzero(far)
        size = objective.size(x, gradient)
        status = jnp.where(
            jnp.isfinite(value) & jnp.isfinite(size), SolverStatus.RUNNING, SolverStatus.NOT_FINITE
        )
        memory = MarquardtMemory(linear, first, jnp.int32(0))
        return State(x, value, gradient, size, aux, jnp.int32(1), status, memory)

    def step(objective: Squares, state: State) -> State:
        linear, bound, idle = state.memory
        eps = float(jnp.finfo(state.x.dtype).eps)
        tiny = eps * state.x.size if cutoff is None else cutoff
        strength = damping(linear, bound, tiny)
        move = damped_step(linear, strength, tiny)
        length = tree.norm(move * linear.scale)
        evaluations = state.evaluations + 1
        if geodesic:
            move = move + bend(objective, linear, strength, tiny, state.x, move)
            evaluations += 1
        x = objective.project(state.x + move)
        move = move if objective.box is None else x - state.x
        residual, aux = objective.residual(x)
        value, root = objective.weigh(residual)
        residual = root * residual
        # What the linear model promises, and what came, from pieces that do not cancel.
        ahead = jnp.dot(linear.jacobian, move, precision=tree.HIGHEST)
        slope = tree.dot(state.gradient, move)
        promised = -slope - tree.dot(ahead, ahead) / 2
        fall = state.value - value
        if not objective.robust:
            fall = tree.dot(linear.residual - residual, linear.residual + residual) / 2
        fall = jnp.where(jnp.isfinite(value), fall, -jnp.inf)
        ratio = jnp.where(promised > 0, fall / nonzero(promised), 0)

        # Too small to be seen in the value: the step is taken for the parameters' last digits.
        # Rounding x alone changes the residuals by eps |D x|.
        spread = jnp.sqrt(2 * state.value) * tree.norm(linear.scale * state.x)
        noise = 4 * eps * (state.value + spread)
        unseen = jnp.abs(promised) <= noise
        level = unseen & (value <= state.value + 2 * noise)
        better = (ratio > 1e-4) & (value <= state.value)
        accept = jnp.isfinite(value) & (better | level)
        idle = jnp.where(unseen, idle + 1, 0)
        moving = tree.norm(move * linear.scale) > STEP * eps * tree.norm(x * linear.scale)
        done = ~moving | (idle >= PATIENCE) | (unseen & ~accept) | (state.value == 0)

        # The radius: to the vertex of the parabola through slope and values after a bad step.
        shrink = jnp.where(fall >= 0, 0.5, 0.5 * slope / (slope + fall))
        shrink = jnp.where(jnp.isfinite(fall), jnp.clip(shrink, 0.1, 0.5), 0.1)
        smaller = shrink * jnp.minimum(bound, 10 * length)
        good = (ratio >= 0.75) | (strength == 0)
        larger = jnp.full_like(bound, jnp.inf) if unbound else jnp.where(good, 2 * length, bound)
        following = jnp.where(ratio <= 0.25, smaller, larger)
        following = jnp.where(unseen, bound, following)

        jacobian = cond(accept, objective.jacobian, lambda _: linear.jacobian, x)
        jacobian = jnp.where(accept, root, 1)[:, None] * jacobian
        usable = accept & jnp.isfinite(tree.largest_entry(jacobian))
        gradient = jnp.dot(residual, jacobian, precision=tree.HIGHEST)
        fresh = decompose(residual, jacobian, free(objective, x, gradient), linear.scale)
        status = jnp.where(done, SolverStatus.SMALL_CHANGE, state.status)
        size, memory = objective.size(x, gradient), MarquardtMemory(fresh, following, idle)
        new = State(x, value, gradient, size, aux, evaluations, status, memory)
        old = state._replace(
            evaluations=evaluations, status=status, memory=MarquardtMemory(linear, following, idle)
        )
        return jax.tree.map(lambda a, b: jnp.where(usable, a, b), new, old)

    return Solver(init, step, name, bounded=True, solves=Squares)


def bend(objective, linear, strength, cutoff, x, move):
    """The geodesic acceleration: half the step that undoes the second derivative along `move`."""
    h = 0.1
    ahead, _ = objective.residual(x + h * move)
    along = jnp.dot(linear.jacobian, move, precision=tree.HIGHEST)
    _, root = objective.weigh(ahead)
    second = 2 / h * ((root * ahead - linear.residual) / h - along)
    w = linear.singular
    kept = w > cutoff * jnp.max(w, initial=0)
    # U^T s = diag(1/w) V^T (J / D)^T s.
    pulled = jnp.dot(second, linear.jacobian, precision=tree.HIGHEST) / linear.scale
    turned = jnp.dot(linear.right, pulled, precision=tree.HIGHEST)
    weight = jnp.where(kept, 1 / nonzero(w * w + strength), 0)
    extra = -jnp.dot(linear.right.T, weight * turned, precision=tree.HIGHEST) / linear.scale / 2
    size, limit = tree.norm(extra * linear.scale), 0.75 * tree.norm(move * linear.scale) / 2
    return jnp.where(jnp.isfinite(size) & (size <= limit), extra, 0)
