"""Devices that are not here: XLA's own compilers for them, which need none.

Nothing runs there, so there are no times: what can be read is the compiled program, its memory and
its kernels. The packages are those of the extra `devices`.
"""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import topologies

from jnn import errors
from jnn.xla.platform import platform

# What XLA asks of a GPU. Without runtime_version no matrix product is rewritten for cuBLAS.
_HOPPER = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  memory_bandwidth: {bandwidth} l2_cache_size: 52428800 device_memory_size: {memory}
  cuda_compute_capability {{ major: 9 feature_extension: ACCELERATED_FEATURES }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  device_vendor: "NVIDIA Corporation" platform_version: "Compute Capability 9.0a" name: "{name}"
  device_address_bits: 64 pcie_bandwidth: 34359738368 ecc_enabled: true
  driver_version: "13.0.0" runtime_version: "12.9.0" compile_time_toolkit_version: "12.9.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 10 }} device_description_str: "{name}"
"""
GPUS = {
    "h100": {"name": "NVIDIA H100 80GB HBM3", "memory": 84942979072, "bandwidth": 3352320000000},
    "h200": {"name": "NVIDIA H200 141GB HBM3e", "memory": 151397597184, "bandwidth": 4800000000000},
}
DEVICES = ("cpu", *GPUS, "v5e")

# Nobody asks a driver or a metadata server, and a second process may load libtpu.
_ENVIRONMENT = {
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# Autotuning would run kernels.
_OPTIONS: dict[str, Any] = {"gpu": {"xla_gpu_autotune_level": 0}}


def look_for_none() -> None:
    """Keeps JAX, which has not looked for devices yet, from looking for any but this machine's."""
    jax.config.update("jax_platforms", "cpu")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


class Target(NamedTuple):
    """The platform that a program is for, and the devices that it is compiled for."""

    platform: str
    devices: Any  # An array, of one or of the shape of the topology.


@functools.cache
def target(device: str) -> Target:
    """One "h100", "h200" or "v5e", or a part of a pod, "v5e:16x16"; "cpu" is this machine."""
    kind, _, shape = device.partition(":")
    errors.choice("target", "device", kind, DEVICES)
    if kind == "cpu":
        return Target("cpu", np.array(jax.devices("cpu")[:1]))
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        if kind in GPUS:  # The platform is "cuda": "gpu" would be looked for among live ones.
            asked = {"target_config": _HOPPER.format(**GPUS[kind]), "topology": "1x1x1"}
            found = topologies.get_topology_desc(platform="cuda", **asked)
        elif shape:
            found = topologies.get_topology_desc(platform="tpu", topology_name=device)
        else:
            asked = {"topology_name": f"{kind}:1x1", "chips_per_host_bounds": (1, 1, 1)}
            found = topologies.get_topology_desc(platform="tpu", **asked)
    except (RuntimeError, ImportError, ValueError, KeyError, NotImplementedError) as error:
        raise ImportError(
            f"{device}: XLA's compiler for it is not here, or too old. Install jnn with the extra "
            "`devices`, under Python 3.12 or newer, and set JAX_PLATFORMS=cpu."
        ) from error
    return Target("gpu" if kind in GPUS else "tpu", np.array(found.devices))


def compiled(function: Callable[..., Any], *args: Any, device: str, **settings: Any) -> Any:
    """`function` compiled for one device; args may be `jax.ShapeDtypeStruct`s, settings are jit's.

    >>> program = compiled(jnp.tanh, jax.ShapeDtypeStruct((8,), jnp.float32), device="cpu")
    >>> program.memory_analysis().temp_size_in_bytes
    0
    """
    made = target(device)
    where = jax.sharding.SingleDeviceSharding(made.devices.flat[0])
    args = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where),
        jax.eval_shape(lambda *args: args, *args),
    )
    return compiled_for(made.platform, function, *args, **settings)


def compiled_for(name: str, function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """`function` compiled for a platform, for devices that its arguments' shardings name."""
    with platform(name):
        # A function of its own: what jit has traced for another platform is no answer.
        lowered = jax.jit(lambda *args: function(*args), **settings).lower(*args)
        return lowered.compile(compiler_options=_OPTIONS.get(name))
