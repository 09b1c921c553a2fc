"""Options of XLA, which not every version of it has."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

from jnn.xla.platform import is_for

QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jit` with the options that compile fastest, for what runs once."""
    return jax.jit(function, compiler_options=_known() if is_for("cpu") else {})


@functools.cache
def _known() -> dict[str, Any]:
    """Those of the options that this version has."""
    known = {}
    for name, value in QUICK.items():
        try:
            jax.jit(lambda: 0, compiler_options={name: value})()
        except jax.errors.JaxRuntimeError:
            continue
        known[name] = value
    return known


def two_devices() -> None:
    """On a CPU, two of them for `shard_map`, unless the user or an earlier call has decided."""
    if "device_count" not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", 2)
        except RuntimeError:  # Jax has started: the report says what was not run.
            return
