"""Searches on several devices: a part each inside `shard_map`, and layouts as parts of types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jnn

pytestmark = pytest.mark.skipif(len(jax.devices()) < 4, reason="needs four devices")

SPLIT, SAME = PartitionSpec("d"), PartitionSpec()
TARGETS = np.arange(8, dtype=np.float32).reshape(4, 2) / 4


def mesh(kind):
    return jax.make_mesh((4,), ("d",), axis_types=(kind,), devices=jax.devices()[:4])


def each(find):
    """The solutions for a target a device, each by its device."""
    device = jax.shard_map(
        lambda t: find(t[0])[None], mesh=mesh(AxisType.Auto), in_specs=SPLIT, out_specs=SPLIT
    )
    return jax.jit(device)(TARGETS)


def distance(x, t):
    return jnp.sum((x - t) ** 2) + jnp.sum((x - t) ** 4)


SOLVERS = [
    jnn.lbfgs(), jnn.bfgs(), jnn.nonlinear_cg(), jnn.newton_cg(), jnn.powell(),
    jnn.steepest_descent(every=3), jnn.solve.switching(), jnn.solve.active_subset(1),
    jnn.bfgs(search=jnn.linesearch.armijo),
    jnn.steepest_descent(search=jnn.linesearch.exact),
]  # fmt: skip


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.name)
def test_each_device_minimises_its_own_function(solver):
    found = each(lambda t: jnn.minimize(distance, jnp.zeros(2), solver, args=(t,)).params)
    np.testing.assert_allclose(found, TARGETS, atol=2e-3)


@pytest.mark.parametrize("linear", ["svd", "cholesky"])
def test_each_device_fits_its_own_residuals(linear):
    solver = jnn.levenberg_marquardt(linear=linear)

    def find(t):
        bounds = (-9.0, 9.0) if solver.bounded else None
        residual = lambda x: jnp.exp(x - t) - 1  # noqa: E731
        return jnn.least_squares(residual, jnp.zeros(2), solver, bounds=bounds).params

    np.testing.assert_allclose(each(find), TARGETS, atol=1e-5)


def test_what_all_devices_share_stays_shared():
    def find(t):
        f = lambda x: lax.psum(distance(x, t[0]), "d")  # noqa: E731
        return jnn.minimize(f, jnp.zeros(2), jnn.bfgs()).params

    # JAX refuses the output if it may differ among devices.
    shared = jax.shard_map(find, mesh=mesh(AxisType.Auto), in_specs=SPLIT, out_specs=SAME)
    np.testing.assert_allclose(jax.jit(shared)(TARGETS), TARGETS.mean(0), atol=1e-3)


@pytest.mark.parametrize("kernel", ["0", "1"])
def test_a_start_may_lie_on_a_mesh_of_explicit_axes(kernel, monkeypatch):
    monkeypatch.setenv("JNN_ONE_KERNEL", kernel)
    layout = NamedSharding(mesh(AxisType.Explicit), SPLIT)
    start = {"a": jax.device_put(jnp.zeros(8), layout), "b": 1.0}
    target = jax.device_put(jnp.arange(8.0), layout)

    def parts(p, t):
        return p["a"] - t, p["b"] * p["b"] - 4

    def value(p, t):
        a, b = parts(p, t)
        return jnp.sum(a**2) + b**2

    for solver in (jnn.lbfgs(), jnn.newton_cg()):
        found = jnn.minimize(value, start, solver, args=(target,), bounds=(0.0, 5.5)
                             if solver.bounded else None)  # fmt: skip
        expected = np.minimum(np.arange(8), 5.5 if solver.bounded else 9)
        np.testing.assert_allclose(found.params["a"], expected, atol=1e-3)
        assert found.params["a"].sharding.spec == SPLIT
    found = jnn.least_squares(parts, start, args=(target,))
    np.testing.assert_allclose(found.params["a"], np.arange(8), atol=1e-5)
    np.testing.assert_allclose(found.params["b"], 2, rtol=1e-5)
