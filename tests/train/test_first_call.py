"""The first call of `fit` as users have it: few programs, and the compiler's usual settings."""

import json
import os
import subprocess
import sys

CODE = """
import json
import jax, jax.numpy as jnp, numpy as np
import jnn

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **about: compiled.append(about["fun_name"])
    if event.endswith("backend_compile_duration") else None
)


def fit(epochs):
    net = jnn.serial(jnn.dense(33), jnn.relu(), jnn.dense(2))
    data = jnn.data.two_moons(70)
    return net, data, jnn.fit(net, jnn.softmax_cross_entropy, jnn.gd(0.0), data, epochs=epochs,
                              validation=data, metrics="accuracy", progress=None)


net, data, first = fit(1)
programs = compiled[:]
fit(4)
later = compiled[len(programs):]
key = jax.random.fold_in(jax.random.key(0), 2**32 - 1)
params, _ = jax.jit(net.init)(key, jnp.asarray(data[0][:32]))
pairs = zip(jax.tree.leaves(params), jax.tree.leaves(first.params), strict=True)
same = [np.array_equal(a, b) for a, b in pairs]
print(json.dumps([programs, later, same]))
"""


def test_it_compiles_the_carry_and_the_epoch_and_hardly_anything_else():
    """What is compiled fast, as it runs once, has the bits of `jit` all the same."""
    hidden = ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_COMPILATION_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    run = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=env
    )
    assert run.returncode == 0, run.stderr
    programs, later, same = json.loads(run.stdout)
    assert [name for name in programs if "initial" in name or "epoch" in name] == [
        "jit(initial)", "jit(run_epoch)",
    ]  # fmt: skip
    # Where a version of XLA lacks an option, each option is probed once.
    assert len([name for name in programs if name != "jit(probe)"]) <= 4, programs
    assert later == []
    assert all(same)
