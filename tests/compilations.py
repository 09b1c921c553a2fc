"""What is compiled, counted by JAX's own monitoring."""

from collections.abc import Iterator
from contextlib import contextmanager

from jax import monitoring

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[float]]:
    """The seconds of each program that is compiled, or fetched from a cache on disk, inside."""
    seen: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED:
            seen.append(duration_secs)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        monitoring.unregister_event_duration_listener(listen)
