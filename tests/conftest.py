"""Strict settings for all tests: no silent promotion of ranks or dtypes, eight host devices."""

import os
from importlib.metadata import version

# Set before jax starts: shard_map is tested on host devices. Compiling is what tests cost, and
# takes half as long without LLVM's optimisations and XLA's newer emitter of loops: the derivative
# is tested, not the compiler, but by `make compiler`. XLA ends the process over a flag that it does
# not know.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ["XLA_FLAGS"] = " ".join([
    os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8",
    "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.")
    and os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" else "",
]).strip()  # fmt: skip
os.environ.setdefault("JNN_ONE_KERNEL", "1")  # In spite of eight devices.
os.environ["JNN_CACHE"] = "off"  # Tests leave the user's folders alone.

import jax
import numpy as np
import pytest

from jnn.xla.memory import forget_programs

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

MOST_MAPPINGS = 20_000  # Of the 65,530 that Linux lets a process have by default.


def pytest_runtest_teardown() -> None:
    """Forgets compiled programs sooner than users' would be: workers share the machine."""
    forget_programs(MOST_MAPPINGS)


@pytest.fixture
def random() -> np.random.Generator:
    """A generator with a fixed seed, fresh for each test."""
    return np.random.default_rng(0)
