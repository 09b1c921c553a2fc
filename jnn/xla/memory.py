"""Compiled programs are let go before memory maps run out.

JAX keeps each program that it compiled, and each maps memory many times: dozens of maps for a small
one. Linux lets a process have some 65,000, and XLA ends the process where it gets no more.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

MAPS, LIMIT = Path("/proc/self/maps"), Path("/proc/sys/vm/max_map_count")
PART = 0.6  # Of what the system allows: 39,318 of 65,530.
COMPILED = "/jax/core/compile/backend_compile_duration"
# To count takes 0.6 ms with 400 maps and 40 ms with 30,000. So it is done after so many programs;
# and calls count a little, so that it is done at all if JAX should call its event otherwise.
PROGRAMS, CALLS = 32, 512

since = 0.0  # The part of the way to the next count.


def forget_programs(most: int | None = None) -> None:
    """Forgets all compiled programs of JAX if this process has more maps than `most`.

    By default, more than three fifths of what the system allows. Whatever is called next is
    compiled anew; results are the same. Where nobody counts maps, as only Linux does, nothing is
    done. To ask takes no time: maps are counted after some dozens of new programs.

    >>> from jnn.xla.memory import forget_programs
    >>> forget_programs()
    """
    global since
    since += 1 / CALLS
    if since < 1:
        return
    since = 0.0
    traced = isinstance(jnp.zeros(()), Tracer)  # Then somebody's program is being made.
    if not traced and maps() > (allowed() if most is None else most):
        jax.clear_caches()


def maps() -> int:
    """The maps of this process, 0 where they cannot be counted."""
    try:
        return MAPS.read_bytes().count(b"\n")
    except OSError:
        return 0


def allowed() -> float:
    """How many there may be before programs are let go."""
    try:
        return PART * int(LIMIT.read_text())
    except (OSError, ValueError):
        return PART * 65_530


def _listen(event: str, duration_secs: float, **about: Any) -> None:
    global since
    del duration_secs, about
    since += (event == COMPILED) / PROGRAMS


jax.monitoring.register_event_duration_secs_listener(_listen)
