"""The platform that a program is for: a context that `jit` knows of.

How something is best computed depends on where it will run, and that is decided while it is traced,
on whatever machine does the tracing.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
from jax import lax

from jnn import errors

# JAX's own names of each, as lowering and exporting call them.
NAMES = {"cpu": ("cpu",), "gpu": ("cuda", "rocm"), "tpu": ("tpu",)}
PLATFORMS = {own: name for name, own_names in NAMES.items() for own in (name, *own_names)}

# A user context is part of jit's cache key: one jitted function is compiled once for each platform.
_chosen: Any = jax.make_user_context(())


@contextlib.contextmanager
def platform(*names: str) -> Iterator[None]:
    """Within this context, programs are for the given platforms, wherever they are traced.

    "cpu", "gpu" ("cuda" and "rocm" mean the same) or "tpu". Without it a program is for the default
    device: that of `jax.default_device`, or else of JAX's default backend. Say it where a program
    will run elsewhere: exported, compiled ahead of time, called with arrays that lie on another
    device. With several names the program holds a branch for each wherever they differ, and the
    one that it does not need is dropped when the platform is known. Also works as a decorator.

    >>> f = jax.jit(lambda x, w: jnn.rules.conv(x, w))
    >>> x, w = jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 4))
    >>> with jnn.platform("gpu"):
    ...     program = jax.export.export(f, platforms=["cuda"])(x, w)
    >>> program.platforms
    ('cuda',)
    """
    if not names:
        errors.fail("platform", "names", f"one or more of {', '.join(NAMES)}", "none")
    for name in names:
        errors.choice("platform", "names", name, PLATFORMS)
    with _chosen(tuple(dict.fromkeys(PLATFORMS[name] for name in names))):
        yield


def platforms() -> tuple[str, ...]:
    """What a program that is traced here is for, of "cpu", "gpu" and "tpu".

    Others that JAX knows of are called as it calls them.

    >>> from jnn.xla.platform import platforms
    >>> with jnn.platform("tpu", "cuda"):
    ...     platforms()
    ('tpu', 'gpu')
    """
    return _chosen.value or (_default(),)


def is_for(name: str) -> bool:
    """Whether a program that is traced here is for that platform and no other."""
    return platforms() == (name,)


def for_each(f: Callable[..., Any], *args: Any) -> Any:
    """`f(*args)`; for several platforms a branch each, traced as if for that one alone."""
    names = platforms()
    if len(names) == 1:
        return f(*args)
    branches: dict[str, Any] = {}
    for name in names:
        branch = partial(_within, name, f)
        branches |= dict.fromkeys(NAMES[name], branch)  # The same for all of JAX's names: one.
    return lax.platform_dependent(*args, **branches)


def held_for(names: tuple[str, ...]) -> Any:
    """The context of what `platforms` told elsewhere; none where it is so anyway."""
    return contextlib.nullcontext() if platforms() == names else _chosen(names)


def _within(name: str, f: Callable[..., Any], *args: Any) -> Any:
    with _chosen((name,)):
        return f(*args)


def _default() -> str:
    device: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    name = getattr(device, "platform", device) or jax.default_backend()
    return PLATFORMS.get(name, name)
