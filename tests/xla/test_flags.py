"""Options of the compiler: those that it has are used, the others left out."""

import jax.numpy as jnp

from jnn.xla import flags


def test_an_option_that_this_version_lacks_is_left_out(monkeypatch):
    monkeypatch.setattr(flags, "QUICK", {**flags.QUICK, "xla_cpu_no_such_option": True})
    flags._known.cache_clear()
    try:
        assert "xla_cpu_no_such_option" not in flags._known()
        assert flags.LEVEL in flags._known()
        assert flags.quick_jit(lambda x: 2 * x, exact=True)(jnp.ones(2)).tolist() == [2.0, 2.0]
    finally:
        flags._known.cache_clear()
