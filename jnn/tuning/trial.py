"""The candidates for one call of a product, tried: right first, then fast."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jnn import errors
from jnn.floats import cast
from jnn.measure import Clock, Program, program, race
from jnn.rules.core.product import Call, Product
from jnn.tuning.choices import Choice, Trial, settings_text

# How far a candidate may be from the reference, over the largest entry of the array: terms may be
# added in another order, and a fast algorithm may lose some digits, but none may be missing.
TOLERANCES = {"float64": 1e-10, "float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}

PAYS = 0.98  # The default stays unless another takes at most this part of its time.
HOPELESS = 4  # What takes this many times as long as the best is not timed again.


def tried(
    product: Product, call: Call, *, budget: float, tolerance: float | None, clock: Clock
) -> Choice:
    """Checks and times all that can compute the call, and chooses."""
    args = arguments(product, call)
    expected = _expected(product, call, args)
    programs: dict[str, Program] = {}
    trials: dict[str, Trial] = {}
    for name in product.candidates(call):
        try:
            programs[name] = program(_with(product, call, name), *args)
            found = jax.device_get(programs[name]())
        except Exception as error:  # Whatever it is, this candidate is out, and the rest are not.
            if name == product.reference:
                raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            trials[name] = Trial(name, None, None, f"fails: {reason:.60}")
            programs.pop(name, None)
            continue
        error, fault = difference(found, expected, tolerance)
        trials[name] = Trial(name, None, error, fault)
    right = {name: p for name, p in programs.items() if not trials[name].fault}
    seconds = {name: _once(p, clock) for name, p in right.items()}
    best = min(seconds.values(), default=0.0)
    fast = {name: p for name, p in right.items() if seconds[name] <= HOPELESS * best}
    if not fast:
        errors.fail(product.name, "implementation", "right at least once", ", ".join(
            f"{trial.name} ({trial.fault})" for trial in trials.values()))  # fmt: skip
    times = race(fast, budget=budget, clock=clock)
    seconds |= {name: times.seconds(name) for name in fast}
    chosen = min(fast, key=times.seconds)
    default = product.default(call)
    if default in fast and times.ratio(chosen, default) > PAYS:
        chosen = default
    rows = tuple(trial._replace(seconds=seconds.get(name)) for name, trial in trials.items())
    return Choice(call.product, call.arrays, settings_text(call), chosen, rows, call.platform)


def arguments(product: Product, call: Call) -> tuple[jax.Array, ...]:
    """Something to try the product on, the same at every call."""
    random = np.random.default_rng(0)
    if product.draw is not None:
        return tuple(map(jnp.asarray, product.draw(random, call)))

    return tuple(random_array(*each, random) for each in call.arrays)


def random_array(shape: tuple[int, ...], dtype: Any, random: Any = None) -> jax.Array:
    """Normal numbers, or integers of 0 and 1."""
    random = np.random.default_rng(0) if random is None else random
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.asarray(random.standard_normal(shape, np.float32), dtype)
    return jnp.asarray(random.integers(0, 2, shape), dtype)


def difference(found: Any, expected: Any, tolerance: float | None) -> tuple[float | None, str]:
    """The largest error over the largest entry of its array, and what is wrong, if anything.

    >>> difference(np.float32([1, 2]), np.float32([1, 2.5]), None)
    (0.2, 'wrong')
    """
    ours, theirs = jax.tree.leaves(found), jax.tree.leaves(expected)
    if [(x.shape, x.dtype) for x in ours] != [(y.shape, y.dtype) for y in theirs]:
        return None, f"wrong: returns {errors.describe(tuple(ours))}"
    worst, fault = 0.0, ""
    for x, y in zip(ours, theirs, strict=True):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            error, allowed = float(np.any(x != y)), 0.0
        else:
            a, b = x.astype(np.float64), y.astype(np.float64)
            with np.errstate(invalid="ignore"):
                error = float(np.abs(a - b).max(initial=0) / (np.abs(b).max(initial=0) or 1))
            allowed = TOLERANCES.get(x.dtype.name, 1e-4) if tolerance is None else tolerance
        if not error <= allowed:  # NaN is wrong too.
            fault = "wrong"
        worst = max(worst, error) if error == error else error
    return worst, fault


def _expected(product: Product, call: Call, args: Any) -> Any:
    """What the reference returns; in half precision, what it returns in float32, rounded."""
    function = _with(product, call, product.reference)
    types = jax.eval_shape(function, *args)
    half = any(jnp.issubdtype(x.dtype, jnp.inexact) and x.dtype.itemsize < 4 for x in args)
    with jax.default_matmul_precision("highest"):
        values = jax.jit(function)(*(cast(args, jnp.float32) if half else args))
    return jax.device_get(jax.tree.map(lambda y, t: y.astype(t.dtype), values, types))


def _with(product: Product, call: Call, name: str) -> Callable[..., Any]:
    behind = () if call.setting is None else (call.setting,)
    function = product.tried(product.implementations[name].function)
    return lambda *arrays: function(*arrays, *behind)


def _once(run: Program, clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start
