"""Options of XLA, which not every version of it has."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

from jnn.xla.platform import is_for

LEVEL = "xla_backend_optimization_level"
QUICK = {
    LEVEL: 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def quick_jit(
    function: Callable[..., Any], *, exact: bool = False, out_shardings: Any = None
) -> Callable[..., Any]:
    """`jit` with the options that compile fastest, for what runs once.

    Args:
      function: what is compiled.
      exact: whether its numbers are those of `jit`, bit for bit: LLVM's lowest level rounds a
        product before it adds, the others do not.
      out_shardings: as of `jit`.
    """
    options = {}
    if is_for("cpu"):
        options = {name: QUICK[name] for name in _known()}
        if exact and LEVEL in options:
            options[LEVEL] = 1
    return jax.jit(function, out_shardings=out_shardings, compiler_options=options)


@functools.cache
def _known() -> tuple[str, ...]:
    """Those of the options that this version has: all of them, as a rule."""
    return tuple(QUICK) if _is_known(*QUICK) else tuple(filter(_is_known, QUICK))


def _is_known(*names: str) -> bool:
    def probe() -> int:
        return 0

    try:
        jax.jit(probe, compiler_options={name: QUICK[name] for name in names})()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def two_devices() -> None:
    """On a CPU, two of them for `shard_map`, unless the user or an earlier call has decided."""
    if "device_count" not in os.environ.get("XLA_FLAGS", ""):
        try:
            jax.config.update("jax_num_cpu_devices", 2)
        except RuntimeError:  # Jax has started: the report says what was not run.
            return
