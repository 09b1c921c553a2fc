"""Random keys, of both kinds, and rules of several outputs pass through every suite of `check`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnn
from jnn.verify import check


def noise(keys, like):
    """One number in [0, 1) for each entry, row by row from its own key, or from one key for all."""
    draw = lambda key, shape: jax.random.uniform(key, shape, jnp.float32)  # noqa: E731
    if jax.random.key_data(keys).ndim == 1:
        return draw(keys, like.shape).astype(like.dtype)
    return jax.vmap(lambda key: draw(key, like.shape[1:]))(keys).astype(like.dtype)


@jnn.rule
def noisy(x, keys):
    """Times noise; the sums of the rows' squares; and how many of each are positive.

    Saves: x, keys.
    """
    return x * noise(keys, x), (x * x).sum(-1), (x > 0).sum(-1)


@noisy.forward
def noisy_forward(x, keys):
    return noisy.parts.definition(x, keys), (x, keys)


@noisy.backward
def noisy_backward(saved, delta):
    (x, keys), (dy, ds, _) = saved, delta
    return dy * noise(keys, x) + 2 * x * ds[:, None], None


@noisy.tangent
def noisy_tangent(primals, tangents):
    (x, keys), (dx, _) = primals, tangents
    still = np.zeros(len(x), jax.dtypes.float0)
    return noisy.parts.definition(x, keys), (dx * noise(keys, x), 2 * (x * dx).sum(-1), still)


KEYS = {
    "typed": jax.random.key(7),
    "rbg": jax.random.key(7, impl="rbg"),
    "old": np.asarray(jax.random.PRNGKey(7)),
    "typed, one a row": jax.random.split(jax.random.key(7), 3),
    "old, one a row": np.asarray(jax.random.split(jax.random.PRNGKey(7), 3)),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_pass_through_every_suite(kind, random):
    report = check(noisy, args=(random.normal(size=(3, 4)), KEYS[kind]))
    assert report.ok, str(report)
    assert {"transforms", "devices", "determinism", "integers", "types", "nan"} <= set(report.worst)
    assert ("empty_batch" in report.worst) == ("a row" in kind)  # One key's noise is by place.


def turned(keys):
    return jax.random.fold_in(keys, 1) if jnp.ndim(keys) == 0 else keys[::-1]


def shared(saved, delta):
    """Under vmap, the key of the first sample serves all: as closed over when it was traced."""
    (x, _), (dy, ds, _) = saved, delta
    return dy * noise(jax.random.key(7), x) + 2 * x * ds[:, None], None


WRONG = {
    "another key": lambda s, d: noisy_backward((s[0], turned(s[1])), d),
    "one output's cotangent forgotten": lambda s, d: noisy_backward(
        s, (d[0], jnp.zeros_like(d[1]), d[2])
    ),
}


@pytest.mark.parametrize("kind", ["typed", "typed, one a row"])
@pytest.mark.parametrize("fault", WRONG)
def test_a_fault_is_found(fault, kind, random):
    wrong = noisy.replace(backward=WRONG[fault])
    report = check(wrong, args=(random.normal(size=(3, 4)), KEYS[kind]), suites=["agreement"])
    assert "the cotangent of `x`" in report.findings[0]


def test_a_key_that_the_samples_share_by_mistake_is_found(random):
    x = random.normal(size=(3, 4))
    report = check(noisy.replace(backward=shared), args=(x, KEYS["typed"]), suites=["transforms"])
    found = {sentence.split(": ")[1] for sentence in report.findings}
    assert found == {"vmap over all arguments", "grad of scan"}  # All else has the one key.


def test_keys_are_weighed_and_compared(random):
    x, key = jnp.ones((3, 4)), jax.random.key(0)
    ledger = jnn.residuals(noisy, x, key)
    assert ledger.bytes("hand", "input") == x.nbytes + 8
    assert "total bytes" in str(ledger)
    comparison = jnn.compare(lambda x, key: noisy(x, key)[1], x, key)
    assert "saved for the backward" in str(comparison)
    assert jnn.verify.gradient_test(lambda args: noisy(*args)[1].sum(), (x, key))
